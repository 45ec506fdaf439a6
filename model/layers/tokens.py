"""Events and candidates as tokens: phi_in(E + A + S + time). A candidate's surface is that of its request.

Order enters through rotary positions in the attention. Time enters here, as an embedding of the log-bucketed gap to
the event BEFORE: causal, so the history's tokens do not depend on when it is read, and a candidate's gap (request time
minus the newest event) tells how fresh the history is.
"""

from typing import Optional

import torch
from torch import Tensor, nn

from pinfm.model.config import TowerConfig
from pinfm.model.inputs import Candidates, History, Reads
from pinfm.model.layers.jagged import positions, starts
from pinfm.model.layers.mlp import projection

# Half-octaves of 1 + gap: bucket 63 starts at 2**31.5 seconds. The one after them says that there is no event before.
NUM_GAP_BUCKETS = 64


class TokenInput(nn.Module):
    """Sums the parts of a token and projects them to the transformer's width.

    Args:
        item_dim: E, width of an item's id vector.
        num_actions: size of the action vocabulary.
        num_surfaces: size of the surface vocabulary.
        tower: width D of the transformer, what a token knows of time, phi_in, and dropout on the tokens.
    """

    def __init__(
        self,
        *,
        item_dim: int,
        num_actions: int,
        num_surfaces: int,
        tower: TowerConfig,
    ) -> None:
        super().__init__()
        self.candidate_action = num_actions + 1
        self.no_gap = NUM_GAP_BUCKETS
        self.action = nn.Embedding(num_actions + 2, item_dim)
        self.surface = nn.Embedding(num_surfaces + 1, item_dim)
        self.gap = nn.Embedding(NUM_GAP_BUCKETS + 1, item_dim) if tower.time == "gap" else NoGap()
        self.phi_in = projection(tower.heads, item_dim, tower.dim)
        # Its rows have length 1, and item vectors as they are begin shorter: the first block would drown them in
        # outputs of length sqrt(D).
        self.scale = float(tower.dim) ** 0.5
        self.dropout = nn.Dropout(tower.token_dropout)
        for embedding in (self.action, self.surface, self.gap):
            for weight in embedding.parameters():
                nn.init.normal_(weight, std=0.5 * item_dim**-0.5)

    def events(self, history: History, item_TE: Tensor) -> Tensor:
        """Tokens of the history.

        Args:
            history: T events.
            item_TE: their item vectors.

        Returns:
            (T, D).
        """
        return self.of_events(item_TE, history.action, history.surface, self.event_gaps(history))

    def of_events(self, item: Tensor, action: Tensor, surface: Tensor, gap: Tensor) -> Tensor:
        """Tokens of events, laid out in any way.

        Args:
            item: (..., E) item vectors.
            action: (...) int64 codes.
            surface: (...) int64 codes.
            gap: (...) int64 buckets, see `event_gaps`.

        Returns:
            (..., D).
        """
        tokens: Tensor = self.dropout(self._project(item + self.beside(action, surface, gap)))
        return tokens

    def beside_items(self, history: History) -> Tensor:
        """(T, E): what the tokens of T events hold beside their items: action, surface and time."""
        return self.beside(history.action, history.surface, self.event_gaps(history))

    def beside(self, action: Tensor, surface: Tensor, gap: Tensor) -> Tensor:
        """Codes and gap buckets of events, int64 of any shape (...) -> (..., E)."""
        parts: Tensor = self.action(action) + self.surface(surface) + self.gap(gap)
        return parts

    def event_gaps(self, history: History) -> Tensor:
        """(T,) int64: bucket of the time from the event before; `no_gap` at the first event of a history."""
        gap_T = gap_buckets(history.timestamp - torch.roll(history.timestamp, 1))
        owner_T = torch.repeat_interleave(history.lengths)
        return gap_T.masked_fill(positions(history.lengths, owner_T) == 0, self.no_gap)

    def candidates(self, history: History, reads: Reads, candidates: Candidates, item_NE: Tensor) -> Tensor:
        """Tokens of the candidates.

        Args:
            history: the events.
            reads: which of them each of U requests sees.
            candidates: N candidates of the requests.
            item_NE: their item vectors, with any content already added.

        Returns:
            (N, D).
        """
        gap_U = self.request_gaps(history, reads, candidates.request_timestamp)
        owner_N = torch.repeat_interleave(candidates.lengths)
        surface_N: Optional[Tensor] = None  # noqa: UP045
        surface_U = candidates.surface  # TorchScript narrows an Optional in a variable alone
        if surface_U is not None:
            surface_N = surface_U[owner_N]
        return self.of_candidates(item_NE, gap_U[owner_N], surface_N)

    def request_gaps(self, history: History, reads: Reads, request_timestamp_U: Tensor) -> Tensor:
        """(U,) int64: bucket of the time from the newest event that a request sees; `no_gap` where it sees none."""
        newest_U = (starts(history.lengths)[reads.history] + reads.visible - 1).clamp(min=0)
        if history.timestamp.numel() > 0:
            gap_U = gap_buckets(request_timestamp_U - history.timestamp[newest_U])
        else:
            gap_U = torch.zeros_like(request_timestamp_U)
        return gap_U.masked_fill(reads.visible == 0, self.no_gap)

    def of_candidates(self, item: Tensor, gap: Tensor, surface: Optional[Tensor]) -> Tensor:  # noqa: UP045
        """Tokens of candidates, laid out in any way.

        Args:
            item: (..., E) item vectors, with any content already added.
            gap: (...) int64 buckets, see `request_gaps`.
            surface: (...) int64 codes of where each one's request is made; None leaves it out.

        Returns:
            (..., D).
        """
        parts = item + self.action(torch.full_like(gap, self.candidate_action)) + self.gap(gap)
        if surface is not None:
            parts = parts + self.surface(surface)
        tokens: Tensor = self.dropout(self._project(parts))
        return tokens

    def _project(self, parts: Tensor) -> Tensor:
        scaled: Tensor = self.scale * self.phi_in(parts)
        return scaled


class RequestTime(nn.Module):
    """Tells the state after an event how long after it the user comes back: x + an embedding of the gap.

    It acts on the transformer's output, so a history is still encoded once, whenever it is read. In training half of
    the gaps are hidden, so that one tower answers with and without a known time.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.unknown = NUM_GAP_BUCKETS
        self.gap = nn.Embedding(NUM_GAP_BUCKETS + 1, dim)
        nn.init.zeros_(self.gap.weight)

    def forward(self, x_TD: Tensor, gap_T: Tensor) -> Tensor:
        """(T, D) outputs and (T,) buckets, `NUM_GAP_BUCKETS` for an unknown gap -> (T, D)."""
        if self.training:
            hidden_T = torch.rand(gap_T.size(0), device=gap_T.device) < 0.5
            gap_T = gap_T.masked_fill(hidden_T, self.unknown)
        told_TD: Tensor = x_TD + self.gap(gap_T)
        return told_TD


class NoRequestTime(nn.Module):
    """States do not know when they are asked."""

    def forward(self, x_TD: Tensor, gap_T: Tensor) -> Tensor:
        """The outputs as they are."""
        return x_TD


class NoGap(nn.Module):
    """Time plays no part."""

    def forward(self, buckets_T: Tensor) -> Tensor:
        """(1,) zero, which adds nothing to any token; an integer, so that a sum keeps the token's precision."""
        return torch.zeros(1, dtype=torch.int64, device=buckets_T.device)


def gaps_to_next(history: History, unknown: int = NUM_GAP_BUCKETS) -> Tensor:
    """(T,) bucket of the gap from each event to the one after it; `unknown` after the newest event of a history."""
    gap_T = gap_buckets(torch.roll(history.timestamp, -1) - history.timestamp)
    owner_T = torch.repeat_interleave(history.lengths)
    newest_T = positions(history.lengths, owner_T) == history.lengths[owner_T] - 1
    return gap_T.masked_fill(newest_T, unknown)


def gap_buckets(seconds: Tensor) -> Tensor:
    """Half-octave buckets of time gaps: floor(2 log2(1 + gap)), the same number on every device and host.

    No logarithm is taken: devices round it differently, and an ulp at a power of two is another bucket. floor(2 log2 n)
    is the place of the highest bit of n * n, which is twice that of n's own, or one more.

    Args:
        seconds: int64, any value; negative gaps count as 0.

    Returns:
        int64 in [0, NUM_GAP_BUCKETS), same shape; the last bucket holds all gaps from 2**31.5 seconds on.

    Example:
        >>> gap_buckets(torch.tensor([-5, 0, 1, 2, 3, 2**40])).tolist()
        [0, 0, 2, 3, 4, 63]
    """
    # Longer gaps are no other bucket, and their squares would not fit into 64 bits.
    n = seconds.clamp(min=0, max=(1 << 32) - 2) + 1
    # A double holds n as it is, and frexp reads its exponent: nothing is rounded.
    octave = torch.frexp(n.double())[1].long() - 1
    # Where n * n takes the sign's bit too, that very bit is the one asked for.
    return 2 * octave + (((n * n) >> (2 * octave + 1)) & 1)
