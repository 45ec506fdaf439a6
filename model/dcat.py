"""DCAT: the deduplicated cross-attention transformer (PinFM, arXiv 2507.12704).

A causal transformer over [history, candidate], read at the candidate, splits in two. The history never sees the
candidate, so its keys and values are computed once per request (context); each candidate then attends to them and to
itself (crossing). Up to rounding the result is the same, at about 1 / (L + 1) of the work per candidate.
"""

from collections.abc import Sequence
from typing import NamedTuple, Optional

from torch import Tensor, nn

from pinfm.model.layers.attention import attention_mask
from pinfm.model.layers.jagged import layout, pad, positions
from pinfm.model.layers.transformer import Block


class Context(NamedTuple):
    """The encoded histories of U requests.

    Args:
        lengths: (U,) int64.
        outputs: (T, D), the last layer's output for every event, after the final norm.
        keys: of each layer, (U, H, L, d).
        values: of each layer, (U, H, L, d).
    """

    lengths: Tensor
    outputs: Tensor
    keys: list[Tensor]
    values: list[Tensor]


class DCAT(nn.Module):
    """A stack of blocks with a context and a crossing pass over the same weights.

    Args:
        blocks: of width D.
        positions: RotaryPositions, or NoPositions to leave order to causality.
        dim: D.
    """

    def __init__(self, blocks: Sequence[Block], positions: nn.Module, dim: int) -> None:
        super().__init__()
        self.positions = positions
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = nn.LayerNorm(dim)

    def encode_context(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes histories once.

        Args:
            x_TD: event tokens of all requests, oldest first.
            lengths_U: events of each request, int64; zero is legal.
        """
        where = layout(lengths_U)
        angles_T = self.positions(positions(lengths_U, where.owners))
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for block in self.blocks:  # a ModuleList forgets the type of its modules
            x_TD, key, value = block.context(x_TD, angles_T, where)  # type: ignore[operator]
            keys.append(key)
            values.append(value)
        return Context(lengths_U, self.final_norm(x_TD), keys, values)

    def cross(
        self,
        context: Context,
        x_ND: Tensor,
        lengths_U: Tensor,
        visible_N: Optional[Tensor] = None,  # noqa: UP045
    ) -> Tensor:
        """Scores candidates against encoded histories.

        Args:
            context: from `encode_context`, for the same requests.
            x_ND: candidate tokens, grouped by history.
            lengths_U: candidates of each history, int64.
            visible_N: how many of the history's rows each candidate sees; None for all of them.

        Returns:
            (N, D): what the causal transformer over [history, candidate] gives at the candidate.
        """
        where = layout(lengths_U)
        if visible_N is None:
            visible_N = context.lengths[where.owners]
        angles_N = self.positions(visible_N)
        visible_UC = pad(visible_N[:, None], where)[:, :, 0]
        mask_U1CL = attention_mask(visible_UC, context.keys[0])
        for i, block in enumerate(self.blocks):
            keys, values = context.keys[i], context.values[i]
            x_ND = block.cross(x_ND, angles_N, where, keys, values, mask_U1CL)  # type: ignore[operator]
        output_ND: Tensor = self.final_norm(x_ND)
        return output_ND
