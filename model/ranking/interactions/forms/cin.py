"""The compressed interaction network of xDeepFM."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, flat, require_vectors, whole
from pinfm.model.ranking.interactions.parts.pair_products import pair_products

# From so many candidates a request on, the requests' matrices cost less than they save; at ten, training took 3 times
# as long with them.
MANY = 32


class CompressedInteraction(nn.Module):
    """CIN (Lian et al. 2018, arXiv 1803.05170, eq. 6, and the sums that pool it): layer k gives H maps of width D.

        x^k_h = sum_ij W^k_hij (x^{k-1}_i * x^0_j)      p^k_h = sum_d x^k_hd

    x^0 are a candidate's F = R + C vectors, its request's first. No activation stands between the layers, which is what
    the paper found best, and no layer is split into halves (its code has that, its formula has not). As there, the
    vectors themselves are not in the output: `parallel: [input, cin]` adds them.

    A layer is linear in x^0, so what a request's vectors do to x^{k-1} is one matrix (H, H) for each of the D columns,
    computed once a request that has many candidates; a candidate pays for pairs with its own C vectors alone.
    Parameters: F^2 H + (layers - 1) F H^2.

    Args:
        shape: R, C, D of the input. Out: layers H numbers of each candidate.
        layers: how many.
        maps: H.

    Raises:
        UserError: the input is single numbers.
    """

    def __init__(self, shape: FieldShape, *, layers: int, maps: int) -> None:
        super().__init__()
        require_vectors(shape, "cin")
        self.request, self.count, self.maps, self.many = shape.request, shape.vectors(), maps, MANY
        self.out_shape = FieldShape(0, layers * maps, 1)
        sources = [self.count, *[maps] * (layers - 1)]
        self.layers = module_list(nn.Linear(source * self.count, maps, bias=False) for source in sources)

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, layers H) as vectors of width 1."""
        requests, candidates = fields.request.size(0), fields.candidate.size(0)
        if self.request > 0 and candidates >= self.many * max(requests, 1):
            return flat(fields, self._by_request(fields))
        x_0 = x = whole(fields).permute(2, 0, 1)
        pooled: list[Tensor] = []
        for layer in self.layers:
            x = pair_products(x, x_0, self._weight(layer.weight))
            pooled.append(x.sum(0))
        return flat(fields, torch.cat(pooled, dim=1))

    def _weight(self, weight: Tensor) -> Tensor:
        """W_hij: (H, F or H, F)."""
        return weight.view(self.maps, -1, self.count)

    def _by_request(self, fields: Fields) -> Tensor:
        """Products with a request's vectors as matrices of the request: (N, layers H)."""
        lengths: list[int] = torch.bincount(fields.owner, minlength=fields.request.size(0)).tolist()
        end, request_UDR, own_DNC = self.request, fields.request.transpose(1, 2), fields.candidate.permute(2, 0, 1)
        x_DNI = own_DNC
        pooled: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            weight_HIF = self._weight(layer.weight)
            # What meets x^{k-1}_i: the sum of W_hij times the request's vector j.
            mixing_UDIH = torch.einsum("hij,udj->udih", weight_HIF[:, :, :end], request_UDR)
            if i == 0:  # x^{k-1} has a part of the request too
                within_UDH = torch.einsum("udih,udi->udh", mixing_UDIH[:, :, :end], request_UDR)
                transposed_UDCH = torch.einsum("hij,udi->udjh", weight_HIF[:, :end, end:], request_UDR)
                mixing_UDIH = mixing_UDIH[:, :, end:] + transposed_UDCH
                of_own_DNH = pair_products(own_DNC, own_DNC, weight_HIF[:, end:, end:])
                of_own_DNH = of_own_DNH + within_UDH.index_select(0, fields.owner).transpose(0, 1)
            else:
                of_own_DNH = pair_products(x_DNI, own_DNC, weight_HIF[:, :, end:])
            x_DNI = of_own_DNH + _mixed(x_DNI, mixing_UDIH, lengths)
            pooled.append(x_DNI.sum(0))
        return torch.cat(pooled, dim=1)


def _mixed(x_DNI: Tensor, mixing_UDIH: Tensor, lengths: list[int]) -> Tensor:
    """Each candidate's numbers times its request's matrices: (D, N, H)."""
    mixed: list[Tensor] = []
    for i, x in enumerate(torch.split(x_DNI, lengths, dim=1)):
        mixed.append(torch.matmul(x, mixing_UDIH[i]))
    return torch.cat(mixed, dim=1)
