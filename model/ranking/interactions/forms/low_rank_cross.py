"""DCNv2 with matrices of low rank, whose layers meet a request's vectors once a request."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, whole
from pinfm.model.ranking.interactions.parts.split import SplitLinear


class LowRankCross(nn.Module):
    """Stacked layers of DCNv2 (Wang et al. 2021, arXiv 2008.13535, eq. 2).

        x_l = x_0 * (U_l V_l x_{l-1} + b_l) + x_{l-1}

    x_0 is a candidate's vectors as one, of width W = (R + C) D. With h_l = V_l x_{l-1}, every layer scales x_0:

        x_l = x_0 * (1 + b_1 + .. + b_l + [U_1 .. U_l] [h_1 .. h_l])

    So the request part of V_{l+1} x_l is affine in the h, by a matrix of the request alone, V_{l+1} diag(request)
    [U_1 .. U_l], which has rank rows and l rank columns. With many candidates a request, a CPU computes that matrix
    instead, and the request's part of x_l only at the end. Parameters: layers (2 W rank + W).

    Args:
        shape: R, C, D of the input. Out: R + C vectors of each candidate, of width D.
        layers: how many.
        rank: columns of U_l.
    """

    def __init__(self, shape: FieldShape, *, layers: int, rank: int) -> None:
        super().__init__()
        self.out_shape = shape.per_candidate()
        self.count = shape.vectors()
        self.request_width = shape.request * shape.dim
        self.rank = rank
        # From so many candidates a request on, the requests' matrices cost less than they save.
        self.many = rank * layers if self.request_width and layers > 1 else 0
        width = shape.width()
        self.first = SplitLinear(shape, rank, bias=False)
        self.downs = module_list(nn.Linear(width, rank, bias=False) for _ in range(layers - 1))
        self.ups = module_list(nn.Linear(rank, width) for _ in range(layers))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        requests, candidates = fields.request.size(0), fields.candidate.size(0)
        # On a GPU a thousand candidates hide nothing of the many small products: twice the time (docs/performance.md).
        if self.many and candidates > self.many * requests and not fields.candidate.is_cuda:
            x_NW = self._by_request(fields)
        else:
            x_NW = self._by_candidate(fields)
        return candidates_alone(fields, x_NW.view(candidates, self.count, fields.candidate.size(2)))

    def _by_candidate(self, fields: Fields) -> Tensor:
        downs = self._down_weights()
        x_0 = whole(fields).flatten(1)
        h, x = self.first(fields), x_0
        for i, up in enumerate(self.ups):
            if i > 0:
                h = torch.matmul(x, downs[i - 1].t())
            x = x_0 * up(h) + x
        return x

    def _by_request(self, fields: Fields) -> Tensor:
        lengths: list[int] = torch.bincount(fields.owner, minlength=fields.request.size(0)).tolist()
        request_UW, candidates = fields.request.flatten(1), torch.split(fields.candidate.flatten(1), lengths)
        first = torch.split(self.first(fields), lengths)
        crossed: list[Tensor] = []
        for i, candidate_NW in enumerate(candidates):
            crossed.append(self._of_request(request_UW[i], candidate_NW, first[i]))
        return torch.cat(crossed)

    def _of_request(self, request_W: Tensor, candidate_NW: Tensor, first_NK: Tensor) -> Tensor:
        """The output of one request's candidates.

        Args:
            request_W: x_0 of the request.
            candidate_NW: the rest of x_0.
            first_NK: h_1.
        """
        end, downs = self.request_width, self._down_weights()
        ups: list[Tensor] = []  # U_1 .. U_l of the request's part
        h_NK = first_NK
        hidden: list[Tensor] = []  # h_1 .. h_l
        scale_W = torch.ones_like(request_W)  # 1 + b_1 + .. + b_l of the request's part
        scale_NW = torch.ones_like(candidate_NW)  # of the candidate's, with the products of the h
        for i, up in enumerate(self.ups):
            if i > 0:
                down_KW = downs[i - 1]
                of_request_KW = down_KW[:, :end] * request_W
                mixing = torch.matmul(of_request_KW, torch.cat(ups, dim=1))
                h_NK = torch.matmul(torch.cat(hidden, dim=1), mixing.t()) + torch.mv(of_request_KW, scale_W)
                h_NK = h_NK + torch.matmul(candidate_NW * scale_NW, down_KW[:, end:].t())
            hidden.append(h_NK)
            ups.append(up.weight[:end])
            scale_W = scale_W + up.bias[:end]
            scale_NW = scale_NW + torch.addmm(up.bias[end:], h_NK, up.weight[end:].t())
        of_request_NW = torch.addmm(scale_W, torch.cat(hidden, dim=1), torch.cat(ups, dim=1).t()) * request_W
        return torch.cat([of_request_NW, candidate_NW * scale_NW], dim=1)

    def _down_weights(self) -> list[Tensor]:
        """V_2 .. V_l; TorchScript takes no index into a list of modules."""
        weights: list[Tensor] = []
        for down in self.downs:
            weights.append(down.weight)
        return weights
