"""DCAT: the deduplicated cross-attention transformer (PinFM, arXiv 2507.12704).

A causal transformer over [history, candidate], read at the candidate, splits in two. The history never sees the
candidate, so its keys and values are computed once per request (context); each candidate then attends to them and to
itself (crossing). Up to rounding the result is the same, at about 1 / (L + 1) of the work per candidate.
"""

from collections.abc import Sequence
from typing import NamedTuple, Optional

from torch import Tensor, nn

from pinfm.model.layers.attention import attention_mask
from pinfm.model.layers.jagged import Layout, layout, pad, positions
from pinfm.model.layers.transformer import Block


class Context(NamedTuple):
    """The encoded histories of U requests.

    Args:
        lengths: (U,) int64.
        rows: (T, D), the last layer's input; `DCAT.outputs` finishes it where somebody asks.
        keys: of each layer, (U, H, L, d).
        values: of each layer, (U, H, L, d).
    """

    lengths: Tensor
    rows: Tensor
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
        angles_T = self._angles(lengths_U, where)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):  # a ModuleList forgets the type of its modules
            normed_TD = block.attention_norm(x_TD)  # type: ignore[operator]
            key, value = block.keys_and_values(normed_TD, angles_T, where)  # type: ignore[operator]
            keys.append(key)
            values.append(value)
            if i < last:
                x_TD = block.context(x_TD, normed_TD, angles_T, where, key, value)  # type: ignore[operator]
        return Context(lengths_U, x_TD, keys, values)

    def outputs(self, context: Context) -> Tensor:
        """(T, D): the last layer's output for every event, after the final norm.

        Candidates need keys and values alone, so serving never computes it.
        """
        where = layout(context.lengths)
        angles_T = self._angles(context.lengths, where)
        block = self.blocks[-1]
        normed_TD = block.attention_norm(context.rows)  # type: ignore[operator]
        output_TD: Tensor = self.final_norm(
            block.context(context.rows, normed_TD, angles_T, where, context.keys[-1], context.values[-1])  # type: ignore[operator]
        )
        return output_TD

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
        angles_N: Optional[Tensor] = None  # noqa: UP045
        visible_UC = context.lengths[:, None]
        if visible_N is not None:
            unseen_N = context.lengths[where.owners] - visible_N
            if bool(unseen_N.any()):
                angles_N = self.positions(-unseen_N)
                visible_UC = pad(visible_N[:, None], where)[:, :, 0]
        mask_U1CL: Optional[Tensor] = None  # noqa: UP045
        if bool((visible_UC < context.keys[0].size(2)).any()):
            mask_U1CL = attention_mask(visible_UC, context.keys[0])
        for i, block in enumerate(self.blocks):
            keys, values = context.keys[i], context.values[i]
            x_ND = block.cross(x_ND, angles_N, where, keys, values, mask_U1CL)  # type: ignore[operator]
        output_ND: Tensor = self.final_norm(x_ND)
        return output_ND

    def _angles(self, lengths_U: Tensor, where: Layout) -> Tensor:
        """Of events whose positions are counted back from the candidate's, which is 0 and needs no rotation."""
        angles_T: Tensor = self.positions(positions(lengths_U, where.owners) - lengths_U[where.owners])
        return angles_T
