"""MaskNet: hidden layers whose input is multiplied by a mask that reads the feature vectors.

Wang et al. 2021, arXiv 2102.07619. A block gives

    relu(LN(W (x * mask)))      mask = W_2 relu(W_1 v + b_1) + b_2

with v a candidate's vectors as one, of width (R + C) D, and x what it masks: the vectors again, each normalised, or
the output of the block before it. The mask's hidden layer, called aggregation, is `projection_ratio` times as wide as
x. The paper leaves the ratio and the widths open; Pinterest (arXiv 2412.01985) takes 2.0 and 512.

W_1 of all blocks reads v alone, so it is one product, whose request part is computed once a request, as is the
normalisation of a request's vectors. What follows the mask's ReLU belongs to the candidate. The request's part of
W diag(x) W_2 could be folded into one matrix a request, but that has width * aggregation numbers, hardly fewer than
what it would replace, and computing it costs as much as many candidates do.
"""

import torch
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.field_norm import FieldNorm
from pinfm.model.ranking.interactions.parts.fields import (
    Fields,
    FieldShape,
    candidates_alone,
    require_vectors,
    whole,
)
from pinfm.model.ranking.interactions.parts.split import SplitLinear


class MaskBlock(nn.Module):
    """What a mask lets through, one hidden layer on.

    Args:
        aggregation: width of W_1 v.
        masked: width of x.
        width: of the output.
    """

    def __init__(self, aggregation: int, masked: int, width: int) -> None:
        super().__init__()
        self.mask = nn.Linear(aggregation, masked)
        # As in the paper without a bias: the normalisation that follows has one.
        self.hidden = nn.Linear(masked, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, aggregated_NT: Tensor, x_NM: Tensor) -> Tensor:
        """W_1 v + b_1 (N, aggregation), x (N, masked) -> (N, width)."""
        masked_NM = x_NM * self.mask(torch.relu(aggregated_NT))
        return torch.relu(self.norm(self.hidden(masked_NM)))


class MaskNetParallel(nn.Module):
    """The paper's parallel model: all blocks mask the feature vectors; their outputs stand side by side.

    With W = (R + C) D and T = projection_ratio W, parameters:
    2 W + blocks (T (W + 1) + W (T + 1) + width W + 2 width).

    Args:
        shape: R, C, D of the input. Out: `blocks` vectors of each candidate, of width `width`.
        blocks: how many.
        width: of a block's output.
        projection_ratio: width of a mask's hidden layer, in widths of what it masks.
    """

    def __init__(self, shape: FieldShape, *, blocks: int, width: int, projection_ratio: float) -> None:
        super().__init__()
        require_vectors(shape, "mask_net_parallel")
        self.out_shape = FieldShape(0, blocks, width)
        aggregation = _aggregation(projection_ratio, shape.width())
        self.norm = FieldNorm(shape)
        self.aggregate = SplitLinear(shape, blocks * aggregation)
        self.blocks = module_list(MaskBlock(aggregation, shape.width(), width) for _ in range(blocks))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, blocks, width)."""
        aggregated = self.aggregate(fields).chunk(len(self.blocks), dim=1)
        x_NW = whole(self.norm(fields)).flatten(1)
        outputs: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            outputs.append(block(aggregated[i], x_NW))
        return candidates_alone(fields, torch.stack(outputs, dim=1))


class MaskNetSerial(nn.Module):
    """The paper's serial model: the first block masks the feature vectors, each later one the output before it.

    With W = (R + C) D, T = projection_ratio W and H = projection_ratio width, parameters:
    2 W + T (W + 1) + W (T + 1) + width W + 2 width
    + (blocks - 1) (H (W + 1) + width (H + 1) + width^2 + 2 width).

    Args:
        shape: R, C, D of the input. Out: one vector of each candidate, of width `width`.
        blocks: how many.
        width: of a block's output.
        projection_ratio: width of a mask's hidden layer, in widths of what it masks.
    """

    def __init__(self, shape: FieldShape, *, blocks: int, width: int, projection_ratio: float) -> None:
        super().__init__()
        require_vectors(shape, "mask_net_serial")
        self.out_shape = FieldShape(0, 1, width)
        masked = [shape.width(), *[width] * (blocks - 1)]
        self.aggregations = [_aggregation(projection_ratio, of) for of in masked]
        self.norm = FieldNorm(shape)
        self.aggregate = SplitLinear(shape, sum(self.aggregations))
        self.blocks = module_list(
            MaskBlock(aggregation, of, width) for aggregation, of in zip(self.aggregations, masked, strict=True)
        )

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, 1, width)."""
        aggregated = self.aggregate(fields).split(self.aggregations, dim=1)
        x_NM = whole(self.norm(fields)).flatten(1)
        for i, block in enumerate(self.blocks):
            x_NM = block(aggregated[i], x_NM)
        return candidates_alone(fields, x_NM[:, None])


def _aggregation(projection_ratio: float, masked: int) -> int:
    """Width of the hidden layer of a mask.

    Raises:
        UserError: none is left.
    """
    aggregation = round(projection_ratio * masked)
    if aggregation < 1:
        raise UserError(
            f"ranker.interaction.projection_ratio ({projection_ratio}) leaves the mask of {masked} numbers without a "
            f"hidden layer; it must be at least {1 / masked:.2g}."
        )
    return aggregation
