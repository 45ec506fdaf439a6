"""The candidate's content vector as an embedding feature of the ranker, with a tower or without one."""

from torch import Tensor, nn

from pinfm.model.inputs import Candidates


class ContentVector(nn.Module):
    """One embedding feature more."""

    def forward(self, candidates: Candidates) -> list[Tensor]:
        """(N, K); a row of zeros, where an item has none, stays one when it is normalised."""
        return [candidates.content]


class NoContentVector(nn.Module):
    """The ranker reads no content."""

    def forward(self, candidates: Candidates) -> list[Tensor]:
        """No feature."""
        none: list[Tensor] = []
        return none
