r"""What interactions read and give: vectors of requests and of candidates, each held once.

    U  requests     N  candidates     R, C  vectors of a request, of a candidate     D  width of a vector

    request (U, R, D)      candidate (N, C, D)      owner (N,)

    request 0  |r r r|     candidate 0  |c c|       0
    request 1  |r r r|     candidate 1  |c c|       0
                           candidate 2  |c c|       1        candidate 2 as a whole: |r r r c c| of request 1

A flat vector of width W is W vectors of width 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError


class Fields(NamedTuple):
    """Vectors that belong to requests and to their candidates.

    Args:
        request: (U, R, D).
        candidate: (N, C, D).
        owner: (N,) int64, ascending, the request of each candidate.
    """

    request: Tensor
    candidate: Tensor
    owner: Tensor


class FieldShape(NamedTuple):
    """How many vectors there are, and how wide.

    Args:
        request: R, of each request.
        candidate: C, of each candidate.
        dim: D.
    """

    request: int
    candidate: int
    dim: int

    def vectors(self) -> int:
        """Vectors of a candidate together with its request's."""
        return self.request + self.candidate

    def width(self) -> int:
        """Numbers in them."""
        return self.vectors() * self.dim

    def per_candidate(self) -> "FieldShape":
        """The shape of the same vectors, where all belong to the candidate."""
        return FieldShape(0, self.vectors(), self.dim)


def whole(fields: Fields) -> Tensor:
    """All vectors of every candidate, its request's first: (N, R + C, D)."""
    if fields.request.size(1) == 0:
        return fields.candidate
    return torch.cat([fields.request.index_select(0, fields.owner), fields.candidate], dim=1)


def per_candidate(fields: Fields) -> Fields:
    """The same vectors, where all belong to the candidate: what splitting is measured against."""
    return candidates_alone(fields, whole(fields))


def candidates_alone(like: Fields, candidate_NCD: Tensor) -> Fields:
    """Vectors of the candidates of `like`, and none of its requests."""
    request = torch.zeros(
        [like.request.size(0), 0, candidate_NCD.size(2)], dtype=candidate_NCD.dtype, device=candidate_NCD.device
    )
    return Fields(request, candidate_NCD, like.owner)


def flat(like: Fields, x_NW: Tensor) -> Fields:
    """(N, W), one row a candidate of `like`, as W vectors of width 1."""
    return candidates_alone(like, x_NW[:, :, None])


def flattened(fields: Fields) -> Fields:
    """The same numbers as vectors of width 1."""
    return Fields(fields.request.flatten(1)[:, :, None], fields.candidate.flatten(1)[:, :, None], fields.owner)


def require_vectors(shape: FieldShape, form: str) -> None:
    """For forms that compare vectors.

    Raises:
        UserError: what stands before the form gives single numbers.
    """
    if shape.dim == 1:
        raise UserError(
            f"ranker.interaction: {form} reads feature vectors, but what stands before it gives single numbers; "
            "let it stand first, or in parallel."
        )
