"""How candidates meet the history (PinFM's input construction): early or late.

Each class holds the transformer and has the same two steps: `encode` the histories, then one row per candidate.

    S  histories     U  requests     T  events     N  candidates     L  longest history     D  width
"""

import torch
from torch import Tensor, nn

from pinfm.model.dcat import DCAT, Context
from pinfm.model.inputs import Reads
from pinfm.model.layers.jagged import layout, pad, starts


class EarlyFusion(nn.Module):
    """The candidate is the last token of the sequence: DCAT's crossing.

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

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): each candidate's token after it has seen its part of the history."""
        return self.dcat.cross(context, tokens_ND, lengths_U, reads)


class EarlyFusionWithToken(nn.Module):
    """Early fusion with one learnable token between history and candidate.

    The token is the same for all candidates, so it belongs to the context: its keys and values are computed once.

    Args:
        dcat: the transformer.
        dim: D.
    """

    def __init__(self, dcat: DCAT, dim: int) -> None:
        super().__init__()
        self.dcat = dcat
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

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): each candidate's token after it has seen its whole history and the learnable token.

        Raises:
            ValueError: a request sees a part of a history; the token stands after its newest event.
        """
        if bool((reads.visible + 1 != context.lengths[reads.history]).any()):
            raise ValueError("a request sees a part of a history; with the learnable token it must see the whole.")
        return self.dcat.cross(context, tokens_ND, lengths_U, Reads(reads.history, reads.visible + 1))


class LateFusion(nn.Module):
    """The transformer reads the history alone, to the end; subclasses say what of it a candidate is given.

    Args:
        dcat: the transformer.
    """

    def __init__(self, dcat: DCAT) -> None:
        super().__init__()
        self.dcat = dcat

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request, to the end: `rows` are the transformer's output, and all that is kept."""
        context = self.dcat.encode_context(x_TD, lengths_U)
        return Context(context.lengths, self.dcat.outputs(context), [], [])

    def outputs(self, context: Context) -> Tensor:
        """(T, D): the transformer's output for every event."""
        return context.rows


class LiteMean(LateFusion):
    """The mean output of the history, the same for all candidates of a request; zeros for an empty history."""

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D); the tokens are not read."""
        where = layout(context.lengths)
        outputs_ULD = pad(context.rows, where)[reads.history]
        visible_UL = torch.arange(where.max_length, device=tokens_ND.device) < reads.visible[:, None]
        sums_UD = torch.bmm(visible_UL[:, None].to(outputs_ULD.dtype), outputs_ULD)[:, 0]
        means_UD = sums_UD / reads.visible.clamp(min=1)[:, None]
        return means_UD[torch.repeat_interleave(lengths_U)]


class LiteLast(LateFusion):
    """The newest output of the history, the same for all candidates of a request; zeros for an empty history."""

    def forward(self, context: Context, reads: Reads, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D); the tokens are not read."""
        # Row 0 stands for the empty history.
        outputs = torch.cat([context.rows.new_zeros([1, tokens_ND.size(1)]), context.rows])
        newest_U = (starts(context.lengths)[reads.history] + reads.visible) * (reads.visible > 0)
        return outputs[newest_U[torch.repeat_interleave(lengths_U)]]


def event_rows(lengths_U: Tensor) -> Tensor:
    """(T,) int64: the row of each event where a token follows each of the histories."""
    owner_T = torch.repeat_interleave(lengths_U)
    return torch.arange(owner_T.size(0), device=lengths_U.device) + owner_T
