"""DCAT: the deduplicated cross-attention transformer (PinFM, arXiv 2507.12704).

A causal transformer over [history, candidate], read at the candidate, splits in two. The history never sees the
candidate, so its keys and values are computed once per request (context); each candidate then attends to them and to
itself (crossing). Up to rounding the result is the same, at about 1 / (L + 1) of the work per candidate.
"""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.attention.visibility import Crossing, Histories, crossing, histories, padded_crossing
from pinfm.model.inputs import Reads, own_histories
from pinfm.model.layers.jagged import positions, starts
from pinfm.model.layers.transformer import Block
from pinfm.model.views import kept_lengths


class Context(NamedTuple):
    """S encoded histories of T events.

    Args:
        lengths: (S,) int64.
        rows: (T, D), the last layer's input; `DCAT.outputs` finishes it where somebody asks.
        keys: of each layer, (T, H, d).
        values: of each layer, (T, H, d).
    """

    lengths: Tensor
    rows: Tensor
    keys: list[Tensor]
    values: list[Tensor]


def keep_context(context: Context, keep_T: Tensor) -> Context:
    """The context without some of its events; what later events have read of them stays in those.

    Args:
        context: of T events.
        keep_T: bool, which of them stay, where they stood: no position is counted anew.
    """
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for i, key in enumerate(context.keys):
        keys.append(key[keep_T])
        values.append(context.values[i][keep_T])
    return Context(kept_lengths(context.lengths, keep_T), context.rows[keep_T], keys, values)


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
        self.blocks = module_list(blocks)
        self.final_norm = nn.LayerNorm(dim)

    def encode_context(self, x_TD: Tensor, lengths_S: Tensor) -> Context:
        """Encodes histories once.

        Args:
            x_TD: event tokens of all histories, oldest first.
            lengths_S: events of each history, int64; zero is legal.
        """
        among = histories(lengths_S, x_TD.size(1))
        return self.context_layers(x_TD, lengths_S, self._angles(lengths_S, among), among)

    def context_layers(self, x_TD: Tensor, lengths_S: Tensor, angles_T: Tensor, among: Histories) -> Context:
        """`encode_context` where it is known already who attends to what.

        Args:
            x_TD: event tokens.
            lengths_S: events of each history, int64.
            angles_T: of the events' positions, (T, 2, d / 2).
            among: which events each event sees.
        """
        keys: list[Tensor] = []
        values: list[Tensor] = []
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            normed_TD = block.attention_norm(x_TD)
            key, value = block.keys_and_values(normed_TD, angles_T)
            keys.append(key)
            values.append(value)
            if i < last:
                x_TD = block.feed_forward(block.context(x_TD, normed_TD, angles_T, key, value, among))
        return Context(lengths_S, x_TD, keys, values)

    def outputs(self, context: Context) -> Tensor:
        """(T, D): the last layer's output for every event, after the final norm.

        Candidates need keys and values alone, so serving never computes it.
        """
        among = histories(context.lengths, context.rows.size(1))
        return self.output_layer(context, self._angles(context.lengths, among), among)

    def output_layer(self, context: Context, angles_T: Tensor, among: Histories) -> Tensor:
        """`outputs` where it is known already who attends to what; see `context_layers`."""
        x_TD = context.rows
        block = self.blocks[-1]  # TorchScript unpacks no module
        normed_TD = block.attention_norm(x_TD)
        attended_TD = block.context(x_TD, normed_TD, angles_T, context.keys[-1], context.values[-1], among)
        output_TD: Tensor = self.final_norm(block.feed_forward(attended_TD))
        return output_TD

    def outputs_at(self, context: Context, rows_M: Tensor) -> Tensor:
        """`outputs` of some events alone, for little more than their share of the last layer.

        Args:
            context: from `encode_context`.
            rows_M: int64, ascending rows among all T events.

        Returns:
            (M, D).
        """
        lengths_S = context.lengths
        owner_M = torch.repeat_interleave(lengths_S)[rows_M]
        before_M = rows_M - starts(lengths_S)[owner_M]
        # An event attends to those before it and to itself, as a candidate does that stands in its place.
        reads = Reads(owner_M, before_M)
        sees = Crossing([], padded_crossing(torch.ones_like(rows_M), reads, lengths_S))  # no two alike: no runs
        angles_M = self.positions(before_M - lengths_S[owner_M])
        block = self.blocks[-1]
        attended_MD = block.cross(context.rows[rows_M], angles_M, context.keys[-1], context.values[-1], sees)
        output_MD: Tensor = self.final_norm(block.feed_forward(attended_MD))
        return output_MD

    def cross(
        self,
        context: Context,
        x_ND: Tensor,
        candidates_U: Tensor,
        reads: Optional[Reads] = None,  # noqa: UP045
    ) -> Tensor:
        """Scores candidates against encoded histories.

        Args:
            context: from `encode_context`.
            x_ND: candidate tokens, grouped by request.
            candidates_U: candidates of each request, int64.
            reads: which part of which history each request sees; None where each sees all of its own.

        Returns:
            (N, D): what the causal transformer over [history, candidate] gives at the candidate.
        """
        if reads is None:
            reads = own_histories(context.lengths)
        sees = crossing(candidates_U, reads, context.lengths, x_ND.size(1))
        unseen_U = context.lengths[reads.history] - reads.visible
        angles_N: Optional[Tensor] = None  # noqa: UP045
        if bool(unseen_U.any()):
            angles_N = self.positions(-torch.repeat_interleave(unseen_U, candidates_U))
        return self.crossing_layers(context, x_ND, angles_N, sees)

    def crossing_layers(
        self,
        context: Context,
        x_ND: Tensor,
        angles_N: Optional[Tensor],  # noqa: UP045
        sees: Crossing,
    ) -> Tensor:
        """`cross` where it is known already who sees what.

        Args:
            context: from `encode_context`.
            x_ND: candidate tokens, grouped by request.
            angles_N: (N, 2, d / 2) of the candidates' positions; None where that is 0 for all.
            sees: which events each candidate sees.

        Returns:
            (N, D).
        """
        for i, block in enumerate(self.blocks):
            x_ND = block.feed_forward(block.cross(x_ND, angles_N, context.keys[i], context.values[i], sees))
        output_ND: Tensor = self.final_norm(x_ND)
        return output_ND

    def _angles(self, lengths_S: Tensor, among: Histories) -> Tensor:
        """Of events, whose positions are counted back from the candidate's, which is 0 and needs no rotation."""
        owners_T = among.where.owners
        angles_T: Tensor = self.positions(positions(lengths_S, owners_T) - lengths_S[owners_T])
        return angles_T
