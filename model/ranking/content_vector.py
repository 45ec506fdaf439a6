"""The candidate's content vector as an embedding feature of the ranker, with a tower or without one."""

from torch import Tensor, nn


class ContentVector(nn.Module):
    """One embedding feature more."""

    def forward(self, content_NK: Tensor) -> list[Tensor]:
        """The vectors themselves; a row of zeros, where an item has none, stays one when it is normalised."""
        return [content_NK]


class NoContentVector(nn.Module):
    """The ranker reads no content."""

    def forward(self, content_NK: Tensor) -> list[Tensor]:
        """No feature."""
        none: list[Tensor] = []
        return none
