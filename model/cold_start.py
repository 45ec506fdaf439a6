"""Cold start (PinFM): what keeps the tower useful for items that it has hardly seen.

`candidate_id_randomization` works on ids, before the lookup; `ItemAgeDropout` on the tower's outputs;
`ContentFusion` on the candidates' tokens. The learnable token is part of the tower's context.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.item_ages import PAPER_THRESHOLDS, AgeThresholds


def candidate_id_randomization(ids_N: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Replaces candidate ids by random ones, so that the ranker learns not to lean on an untrained vector.

    A uniform int64 is almost surely an id that does not exist: its hashed rows are what a brand-new item finds.

    Args:
        ids_N: int64 ids.
        probability: of each replacement.
        generator: makes a run repeatable.

    Returns:
        (N,) int64.
    """
    random_N = torch.empty_like(ids_N).random_(-(2**63), None, generator=generator)
    replaced_N = torch.rand(ids_N.shape, generator=generator) < probability
    return torch.where(replaced_N, random_N, ids_N)


class ItemAgeDropout(nn.Module):
    """Dropout on the tower's outputs that depends on the item's age at request time.

    Args:
        young: probability for young items.
        middle: probability for middle-aged items.
        thresholds: what tells them apart.
    """

    def __init__(self, young: float, middle: float, thresholds: AgeThresholds = PAPER_THRESHOLDS) -> None:
        super().__init__()
        self.young, self.middle = young, middle
        self.young_seconds, self.old_seconds = thresholds

    def forward(self, x_ND: Tensor, age_seconds_N: Tensor) -> Tensor:
        """Drops entries while training and rescales the rest; the identity in evaluation.

        Args:
            x_ND: one row per candidate.
            age_seconds_N: int64, request time minus creation time.
        """
        if not self.training:
            return x_ND
        old_N = torch.zeros_like(age_seconds_N, dtype=x_ND.dtype)
        middle_N = torch.where(age_seconds_N < self.old_seconds, self.middle, old_N)
        drop_N = torch.where(age_seconds_N < self.young_seconds, self.young, middle_N)
        kept_ND = torch.rand_like(x_ND) >= drop_N[:, None]
        return x_ND * kept_ND / (1.0 - drop_N[:, None])


class ContentFusion(nn.Module):
    """A candidate's content vector, projected to the space of id vectors and added to them.

    Args:
        content_dim: K, length of a content vector.
        item_dim: E, width of an id vector.
    """

    def __init__(self, content_dim: int, item_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(content_dim, item_dim, bias=False)

    def forward(self, item_NE: Tensor, content_NK: Tensor) -> Tensor:
        """(N, E): id vectors plus projected content; a row of zeros (no content) adds nothing."""
        projected_NE: Tensor = self.projection(F.normalize(content_NK, dim=-1))
        return item_NE + projected_NE

    def alignment_loss(self, item_NE: Tensor, content_NK: Tensor) -> Tensor:
        """1 - cosine between the projection and the id's vector, over candidates that have content.

        The id vectors are the target (no gradient): content learns to stand where a known item's id would.
        """
        has_content_N = has_content(content_NK)
        if not bool(has_content_N.any()):
            return self.projection.weight.sum() * 0.0
        projected = self.projection(F.normalize(content_NK[has_content_N], dim=-1))
        return (1.0 - F.cosine_similarity(projected, item_NE[has_content_N].detach(), dim=-1)).mean()


def has_content(content_NK: Tensor) -> Tensor:
    """(N,) bool: whether any value of a content vector is not zero; compared one by one, for a sum is rounded."""
    return (content_NK != 0).any(-1)


class NoContent(nn.Module):
    """Stands in for `ContentFusion` where items have no content vectors."""

    def forward(self, item_NE: Tensor, content_NK: Tensor) -> Tensor:
        """The id vectors as they are."""
        return item_NE

    def alignment_loss(self, item_NE: Tensor, content_NK: Tensor) -> Tensor:
        """Zero."""
        return item_NE.new_zeros(())
