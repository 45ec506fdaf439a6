"""How candidates meet the history (PinFM's input construction): early or late.

Each class holds the transformer and has the same two steps: `encode` the histories, then one row per candidate.
"""

import torch
from torch import Tensor, nn

from pinfm.model.dcat import DCAT, Context
from pinfm.model.jagged import starts


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

    def forward(self, context: Context, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): each candidate's token after it has seen its history."""
        return self.dcat.cross(context, tokens_ND, lengths_U)


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
        self.token_D = nn.Parameter(torch.randn(dim) * dim**-0.5)

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request and the token after them; `outputs` holds the events' rows."""
        num_events, num_requests = x_TD.size(0), lengths_U.size(0)
        ends_U = starts(lengths_U) + lengths_U + torch.arange(num_requests, device=lengths_U.device)
        shift_T = torch.repeat_interleave(lengths_U)
        event_rows_T = torch.arange(num_events, device=lengths_U.device) + shift_T
        x = torch.zeros(num_events + num_requests, x_TD.size(1), dtype=x_TD.dtype, device=x_TD.device)
        x = x.index_copy(0, event_rows_T, x_TD)
        x = x.index_copy(0, ends_U, self.token_D.to(x_TD.dtype)[None, :].expand(num_requests, -1))
        context = self.dcat.encode_context(x, lengths_U + 1)
        return Context(context.lengths, context.outputs[event_rows_T], context.keys, context.values)

    def forward(self, context: Context, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D): each candidate's token after it has seen its history and the learnable token."""
        return self.dcat.cross(context, tokens_ND, lengths_U)


class LiteMean(nn.Module):
    """The mean output of the history, the same for all candidates of a request; zeros for an empty history.

    Args:
        dcat: the transformer.
    """

    def __init__(self, dcat: DCAT) -> None:
        super().__init__()
        self.dcat = dcat

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request."""
        return self.dcat.encode_context(x_TD, lengths_U)

    def forward(self, context: Context, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D); of the tokens only their width and type are used."""
        owner_T = torch.repeat_interleave(context.lengths)
        sums_UD = context.outputs.new_zeros([lengths_U.size(0), tokens_ND.size(1)])
        sums_UD = sums_UD.index_add(0, owner_T, context.outputs)
        means_UD = sums_UD / context.lengths.clamp(min=1)[:, None]
        return means_UD[torch.repeat_interleave(lengths_U)]


class LiteLast(nn.Module):
    """The newest output of the history, the same for all candidates of a request; zeros for an empty history.

    Args:
        dcat: the transformer.
    """

    def __init__(self, dcat: DCAT) -> None:
        super().__init__()
        self.dcat = dcat

    def encode(self, x_TD: Tensor, lengths_U: Tensor) -> Context:
        """Encodes the events of each request."""
        return self.dcat.encode_context(x_TD, lengths_U)

    def forward(self, context: Context, tokens_ND: Tensor, lengths_U: Tensor) -> Tensor:
        """(N, D); of the tokens only their width and type are used."""
        # Row 0 stands for the empty history.
        outputs = torch.cat([context.outputs.new_zeros([1, tokens_ND.size(1)]), context.outputs])
        newest_U = (starts(context.lengths) + context.lengths) * (context.lengths > 0)
        return outputs[newest_U[torch.repeat_interleave(lengths_U)]]
