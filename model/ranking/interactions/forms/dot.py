"""The inner products of all pairs of vectors, as in DLRM."""

import torch
from torch import Tensor, nn

from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, require_vectors

# From so many candidates a request on, one product of matrices a request is faster than a small one a candidate.
MANY = 16


class DotInteraction(nn.Module):
    """DLRM (Naumov et al. 2019, arXiv 1906.00091): the inner products of all pairs, beside the vectors themselves.

    With x_1 .. x_F the vectors of a candidate, its request's first: [x_1, ..., x_F, <x_i, x_j> for i < j].
    Pairs within a request are multiplied once a request, and stay there. No parameters.

    Args:
        shape: R, C, D of the input. Out: D R + R (R - 1) / 2 numbers of each request and
            D C + R C + C (C - 1) / 2 of each candidate.
    """

    request_pairs: Tensor
    candidate_pairs: Tensor

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        require_vectors(shape, "dot")
        self.many = MANY
        request, candidate, dim = shape
        self.register_buffer("request_pairs", _pairs(request), persistent=False)
        self.register_buffer("candidate_pairs", _pairs(candidate), persistent=False)
        self.out_shape = FieldShape(
            request * dim + len(self.request_pairs),
            candidate * dim + request * candidate + len(self.candidate_pairs),
            1,
        )

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> vectors of width 1, see above."""
        request_URD, candidate_NCD, owner_N = fields
        within_URR = torch.matmul(request_URD, request_URD.transpose(1, 2))
        within_NCC = torch.matmul(candidate_NCD, candidate_NCD.transpose(1, 2))
        request = [request_URD.flatten(1), within_URR.flatten(1).index_select(1, self.request_pairs)]
        candidate = [
            candidate_NCD.flatten(1),
            _between(request_URD, candidate_NCD, owner_N, self.many).flatten(1),
            within_NCC.flatten(1).index_select(1, self.candidate_pairs),
        ]
        return Fields(torch.cat(request, dim=1)[:, :, None], torch.cat(candidate, dim=1)[:, :, None], owner_N)


def _between(request_URD: Tensor, candidate_NCD: Tensor, owner_N: Tensor, many: int) -> Tensor:
    """The products of each candidate's vectors with its request's: (N, C, R)."""
    requests, candidates = request_URD.size(0), candidate_NCD.size(0)
    if candidates < many * max(requests, 1):
        return torch.matmul(candidate_NCD, request_URD.index_select(0, owner_N).transpose(1, 2))
    products: list[Tensor] = []
    lengths: list[int] = torch.bincount(owner_N, minlength=requests).tolist()
    for i, of_request in enumerate(torch.split(candidate_NCD, lengths)):
        products.append(torch.matmul(of_request, request_URD[i].t()))
    return torch.cat(products)


def _pairs(count: int) -> Tensor:
    """Where a flattened (count, count) holds each pair once."""
    rows, columns = torch.triu_indices(count, count, offset=1)
    places: Tensor = rows * count + columns
    return places
