"""Linear layers over a candidate and its request, whose request part is computed once a request."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape


class SplitLinear(nn.Module):
    """W [r, c] + b = W_r r + (W_c c + b): the first product once a request, the second once a candidate.

    Of the (R + C) D out products of a candidate, C D out are left, and R D out / (candidates of its request).

    Args:
        shape: of the input.
        out_dim: width of the output.
        bias: add b.
    """

    def __init__(self, shape: FieldShape, out_dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.request_width = shape.request * shape.dim
        self.linear = nn.Linear(shape.width(), out_dim, bias=bias)

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> (N, out_dim)."""
        candidate_NW = fields.candidate.flatten(1)
        if self.request_width == 0:
            out_NO: Tensor = self.linear(candidate_NW)
            return out_NO
        weight_OW = self.linear.weight
        of_request_UO = F.linear(fields.request.flatten(1), weight_OW[:, : self.request_width])
        of_candidate_NO = F.linear(candidate_NW, weight_OW[:, self.request_width :], self.linear.bias)
        return of_candidate_NO + of_request_UO.index_select(0, fields.owner)


class SplitCompression(nn.Module):
    """W X: new vectors as weighted sums of a candidate's, those of its request summed once a request.

    Args:
        shape: of the input.
        vectors: of the output, of the width of the input's.
    """

    def __init__(self, shape: FieldShape, vectors: int) -> None:
        super().__init__()
        self.request_vectors = shape.request
        self.linear = nn.Linear(shape.vectors(), vectors, bias=False)

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> (N, vectors, D)."""
        weight_VF = self.linear.weight
        of_candidate_NVD = torch.matmul(weight_VF[:, self.request_vectors :], fields.candidate)
        if self.request_vectors == 0:
            return of_candidate_NVD
        of_request_UVD = torch.matmul(weight_VF[:, : self.request_vectors], fields.request)
        return of_candidate_NVD + of_request_UVD.index_select(0, fields.owner)
