"""The end of a layer that changes the number of vectors."""

from torch import Tensor, nn

from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, whole
from pinfm.model.ranking.interactions.parts.split import SplitCompression


class AddAndNorm(nn.Module):
    """LN(given + X), or LN(given + W X) where a layer gives another number of vectors than it reads.

    Args:
        shape: of X.
        vectors: that the layer gives.
    """

    def __init__(self, shape: FieldShape, vectors: int) -> None:
        super().__init__()
        self.shortcut = Rows() if shape.vectors() == vectors else SplitCompression(shape, vectors)
        self.norm = nn.LayerNorm(shape.dim)

    def forward(self, given_NVD: Tensor, fields: Fields) -> Tensor:
        """(N, vectors, D) and what the layer read -> (N, vectors, D)."""
        out_NVD: Tensor = self.norm(given_NVD + self.shortcut(fields))
        return out_NVD


class Rows(nn.Module):
    """The vectors as they are."""

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> (N, R + C, D)."""
        return whole(fields)
