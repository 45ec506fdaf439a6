"""How candidates meet the history (PinFM's input construction): early or late.

Each form has the same two steps: `encode` the histories, then one row per candidate.

    S  histories     U  requests     T  events     N  candidates     L  longest history     D  width
"""

import torch
from torch import Tensor, nn

from pinfm.model.dcat import DCAT, Context, keep_context
from pinfm.model.inputs import Reads
from pinfm.model.layers.jagged import layout, pad, starts


class Fusion(nn.Module):
    """What every form of fusion shares: the transformer, which reads the histories once.

    A form adds `forward(context, reads, tokens_ND, lengths_U)`, which gives one row per candidate.

    Args:
        dcat: the transformer.
    """

    def __init__(self, dcat: DCAT) -> None:
        super().__init__()
        self.dcat = dcat

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request."""
        return self.dcat.encode_context(x_TD, lengths_U)

    def outputs(self, context: Context) -> Tensor:
        """(T, D): the transformer's output for every event."""
        return self.dcat.outputs(context)

    def outputs_at(self, context: Context, rows_M: Tensor) -> Tensor:
        """(M, D): the transformer's output for some events, int64 rows in ascending order."""
        return self.dcat.outputs_at(context, rows_M)

    def keep(self, context: Context, keep_T: Tensor) -> Context:
        """The context of the events that stay; see `keep_context`."""
        return keep_context(context, keep_T)


class EarlyFusion(Fusion):
    """The candidate is the last token of the sequence: DCAT's crossing."""

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): each candidate's token after it has seen its part of the history."""
        return self.dcat.cross(context, tokens_ND, lengths_U, reads)


class EarlyFusionWithToken(Fusion):
    """Early fusion with one learnable token between history and candidate.

    The token is the same for all candidates, so it belongs to the context: its keys and values are computed once.

    Args:
        dcat: the transformer.
        dim: D.
    """

    def __init__(self, dcat: DCAT, dim: int) -> None:
        super().__init__(dcat)
        # Components of about 1, as the other tokens have.
        self.token_D = nn.Parameter(torch.randn(dim))

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request and the token after them."""
        num_events, num_requests = x_TD.size(0), lengths_U.size(0)
        ends_U = starts(lengths_U + 1) + lengths_U
        x = torch.zeros(num_events + num_requests, x_TD.size(1), dtype=x_TD.dtype, device=x_TD.device)
        x = x.index_copy(0, event_rows(lengths_U), x_TD)
        x = x.index_copy(0, ends_U, self.token_D.to(x_TD.dtype)[None, :].expand(num_requests, -1))
        return self.dcat.encode_context(x, lengths_U + 1)

    def outputs(self, context: Context) -> Tensor:
        """(T, D): the transformer's output for every event, without the tokens' rows."""
        return self.dcat.outputs(context)[event_rows(context.lengths - 1)]

    def outputs_at(self, context: Context, rows_M: Tensor) -> Tensor:
        """(M, D): the transformer's output for some events; their rows are counted without the tokens'."""
        return self.dcat.outputs_at(context, event_rows(context.lengths - 1)[rows_M])

    def keep(self, context: Context, keep_T: Tensor) -> Context:
        """The context of the events that stay, and of the token after each history, which has read them all."""
        rows_T = event_rows(context.lengths - 1)
        keep = torch.ones(context.rows.size(0), dtype=torch.bool, device=keep_T.device)
        return keep_context(context, keep.index_copy(0, rows_T, keep_T))

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): each candidate's token after it has seen its whole history and the learnable token.

        Raises:
            ValueError: a request sees a part of a history; the token stands after its newest event.
        """
        if bool((reads.visible + 1 != context.lengths[reads.history]).any()):
            raise ValueError("a request sees a part of a history; with the learnable token it must see the whole.")
        return self.dcat.cross(context, tokens_ND, lengths_U, Reads(reads.history, reads.visible + 1))


class LateFusion(Fusion):
    """The transformer reads the history alone, to the end; a candidate is given a summary of what its request sees.

    Args:
        dcat: the transformer.
        summary: LiteMean or LiteLast.
    """

    def __init__(self, dcat: DCAT, summary: "LiteMean | LiteLast") -> None:
        super().__init__(dcat)
        self.summary = summary

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request, to the end: `rows` are the transformer's output, and all that is kept."""
        context = self.dcat.encode_context(x_TD, lengths_U)
        return Context(context.lengths, self.dcat.outputs(context), [], [])

    def outputs(self, context: Context) -> Tensor:
        """(T, D): the transformer's output for every event."""
        return context.rows

    def outputs_at(self, context: Context, rows_M: Tensor) -> Tensor:
        """(M, D): the transformer's output for some events."""
        return context.rows[rows_M]

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): the same row for all candidates of a request; their tokens are not read."""
        rows_ND: Tensor = self.summary(context, reads)[torch.repeat_interleave(lengths_U)]
        return rows_ND


class LiteMean(nn.Module):
    """The mean output of what each request sees of its history; zeros for an empty one."""

    def forward(self, context: Context, reads: Reads) -> Tensor:
        """(U, D) of histories that `LateFusion` encoded."""
        return self.of_block(pad(context.rows, layout(context.lengths))[reads.history], reads.visible)

    def of_block(self, outputs_ULD: Tensor, visible_U: Tensor) -> Tensor:
        """(U, D) of the first events of each history, int64 how many."""
        visible_UL = torch.arange(outputs_ULD.size(1), device=outputs_ULD.device) < visible_U[:, None]
        sums_UD = torch.bmm(visible_UL[:, None].to(outputs_ULD.dtype), outputs_ULD)[:, 0]
        return sums_UD / visible_U.clamp(min=1)[:, None]


class LiteLast(nn.Module):
    """The newest output that each request sees of its history; zeros for an empty one."""

    def forward(self, context: Context, reads: Reads) -> Tensor:
        """(U, D) of histories that `LateFusion` encoded."""
        # Row 0 stands for the empty history.
        outputs = torch.cat([context.rows.new_zeros([1, context.rows.size(1)]), context.rows])
        return outputs[(starts(context.lengths)[reads.history] + reads.visible) * (reads.visible > 0)]

    def of_block(self, outputs_ULD: Tensor, visible_U: Tensor) -> Tensor:
        """(U, D) of the last of the first events of each history, int64 how many."""
        newest_U = (visible_U - 1).clamp(min=0)
        newest_UD = outputs_ULD.gather(1, newest_U[:, None, None].expand(-1, 1, outputs_ULD.size(2)))[:, 0]
        return newest_UD * (visible_U > 0)[:, None]


def event_rows(lengths_U: Tensor) -> Tensor:
    """(T,) int64: the row of each event where a token follows each of the histories."""
    owner_T = torch.repeat_interleave(lengths_U)
    return torch.arange(owner_T.size(0), device=lengths_U.device) + owner_T
