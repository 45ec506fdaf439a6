"""Forms after each other and beside each other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, flattened


class Stacked(nn.Module):
    """Each part reads what the one before it gives.

    Args:
        parts: forms; each was built for the shape that the one before it gives.
        out_shape: of the last.
    """

    def __init__(self, parts: Sequence[nn.Module], out_shape: FieldShape) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.out_shape = out_shape

    def forward(self, fields: Fields) -> Fields:
        """The last part's output."""
        for part in self.parts:
            fields = part(fields)
        return fields


class Parallel(nn.Module):
    """All parts read the same, and their outputs stand side by side, those of the requests too.

    Vectors stay vectors where all parts give the same width; else they are flattened.

    Args:
        parts: forms, built for the same shape.
        out_shapes: theirs.
    """

    def __init__(self, parts: Sequence[nn.Module], out_shapes: Sequence[FieldShape]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.flatten = len({shape.dim for shape in out_shapes}) > 1
        if self.flatten:
            out_shapes = [FieldShape(shape.request * shape.dim, shape.candidate * shape.dim, 1) for shape in out_shapes]
        self.out_shape = FieldShape(
            sum(shape.request for shape in out_shapes), sum(shape.candidate for shape in out_shapes), out_shapes[0].dim
        )

    def forward(self, fields: Fields) -> Fields:
        """The parts' outputs in their order."""
        requests: list[Tensor] = []
        candidates: list[Tensor] = []
        for part in self.parts:
            given: Fields = part(fields)
            if self.flatten:
                given = flattened(given)
            requests.append(given.request)
            candidates.append(given.candidate)
        return Fields(torch.cat(requests, dim=1), torch.cat(candidates, dim=1), fields.owner)
