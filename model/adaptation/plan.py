"""What the self-supervised losses ask of a history: the same at every step, so it is worked out once.

U  histories     T  their events     E  width of an item's vector     P  pairs
S  sequences that are encoded: the histories, and where a loss wants them, the same with some items hidden, and
   two views of each
R  rows of the sequences     N  the newest of them: of events that move, and whose states are asked
V  events whose item is compared with states

distance from the newest event    5 4 3 2 1 0
history                           a b c d e f       L_ntl, L_mtl, L_ftl: the state after an event, items after it
with hidden items                 a b _ d e f       masked event: the state at a hidden event, its item
views                             a   c   e         contrastive: the states at the ends of the two views
                                    b   d   f
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.adaptation.config import HIDDEN_EVERY, VectorAdaptationConfig
from pinfm.model.adaptation.gradients.block import Newest
from pinfm.model.adaptation.reference import Reference
from pinfm.model.attention.visibility import padded_crossing
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History, Reads
from pinfm.model.layers.jagged import positions
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, gaps_to_next
from pinfm.model.losses import Sequences, engaged_items
from pinfm.model.views import joined, keep_events, newest_events


class Pairs(NamedTuple):
    """States that have to name an item.

    Args:
        anchor: (P,) int64, whose state, among the newest rows.
        target: (P,) int64, among the targets; among the newest rows where two views are paired.
        weight: (P,) float32, of the pair's loss.
        history: (P,) int64, whose loss it is.
    """

    anchor: Tensor
    target: Tensor
    weight: Tensor
    history: Tensor


class Plan(NamedTuple):
    """What is asked.

    Args:
        lengths: (S,) int64, rows of each sequence.
        event: (R,) int64, the event of each row.
        hidden: (R,) bool, whether its item is hidden.
        beside: (R, E), what its token holds beside the item.
        newest: the rows that move.
        gap: (N,) int64, bucket of the time from each of these to the next event of its sequence.
        targets: (V,) int64, events.
        pairs: states and items.
        views: states and states.
        engaged: (N, K) bool, items of the reference that the row's user engaged with.
    """

    lengths: Tensor
    event: Tensor
    hidden: Tensor
    beside: Tensor
    newest: Newest
    gap: Tensor
    targets: Tensor
    pairs: Pairs
    views: Pairs
    engaged: Tensor


class Planner(nn.Module):
    """Makes plans.

    Args:
        encoder: the tower.
        reference: what histories are held against.
        config: losses and their weights.
    """

    item_id: Tensor
    positive: Tensor

    def __init__(self, encoder: SequenceEncoder, reference: Reference, config: VectorAdaptationConfig) -> None:
        super().__init__()
        self.tokens, self.positions = encoder.tokens, encoder.fusion.dcat.positions
        self.next_token, self.multi_token = config.next_token_weight, config.multi_token_weight
        self.future_token = config.future_token_weight
        self.masked_event, self.contrastive = config.masked_event_weight, config.contrastive_weight
        self.window, self.newest_events = config.window, config.newest_events
        looks_ahead = config.multi_token_weight > 0 or config.future_token_weight > 0
        self.furthest = config.window if looks_ahead else int(config.next_token_weight > 0)
        self.hidden_every, self.unknown_gap = HIDDEN_EVERY, NUM_GAP_BUCKETS
        self.register_buffer("item_id", reference.item_id)
        self.register_buffer("positive", reference.positive)

    def forward(self, history: History) -> Plan:
        """The plan for T events of U histories."""
        owner_T = torch.repeat_interleave(history.lengths)
        newer_T = history.lengths[owner_T] - 1 - positions(history.lengths, owner_T)
        positive_T = torch.isin(history.action, self.positive)
        stack, event_R, hidden_R = self._stack(history, newer_T)
        anchor_P, pairs = self._pairs(owner_T, newer_T, positive_T)
        anchor_B, other_B, views = self._views(history, stack)

        moves_R = newer_T[event_R] < self.newest_events
        place_R = torch.cumsum(moves_R, 0) - 1
        wanted_T = torch.zeros_like(positive_T)
        wanted_T[pairs.target] = True
        place_T = torch.cumsum(wanted_T, 0) - 1

        own = torch.arange(history.lengths.size(0), device=owner_T.device)
        events = Sequences(history.lengths, own, torch.arange(owner_T.size(0), device=owner_T.device), positive_T)
        engaged_UK = engaged_items(events, history.item_id, self.item_id)
        rows_N = moves_R.nonzero()[:, 0]
        return Plan(
            stack.lengths,
            event_R,
            hidden_R,
            self.tokens.beside_items(stack),
            self._newest(rows_N, stack.lengths),
            self._gaps(history, event_R.size(0))[rows_N],
            wanted_T.nonzero()[:, 0],
            Pairs(place_R[anchor_P], place_T[pairs.target], pairs.weight, pairs.history),
            Pairs(place_R[anchor_B], place_R[other_B], views.weight, views.history),
            engaged_UK[owner_T[event_R[rows_N]]],
        )

    def _gaps(self, history: History, num_rows: int) -> Tensor:
        """(R,): as in pretraining, a hidden event has been dated, and a view may end anywhere."""
        gap_T = gaps_to_next(history)
        return torch.cat([gap_T, torch.full_like(gap_T[:1], self.unknown_gap).expand(num_rows - gap_T.size(0))])

    def _newest(self, rows_N: Tensor, lengths_S: Tensor) -> Newest:
        seq_R = torch.repeat_interleave(lengths_S)
        seq_N, position_N = seq_R[rows_N], positions(lengths_S, seq_R)[rows_N]
        angles_N = self.positions(position_N - lengths_S[seq_N])
        sees = padded_crossing(torch.ones_like(rows_N), Reads(seq_N, position_N + 1), lengths_S)
        back_N = torch.stack([angles_N[:, 0], -angles_N[:, 1]], dim=1)
        return Newest(rows_N, angles_N, back_N, sees)

    def _stack(self, history: History, newer_T: Tensor) -> tuple[History, Tensor, Tensor]:
        """The sequences as histories, the event of each row, and whether its item is hidden."""
        every_T = torch.arange(newer_T.size(0), device=newer_T.device)
        parts, events, hidden = [history], [every_T], [torch.zeros_like(newer_T, dtype=torch.bool)]
        if self.masked_event > 0:
            parts.append(history)
            events.append(every_T)
            hidden.append(self._is_hidden(newer_T))
        if self.contrastive > 0:
            for odd in range(2):
                keep_T = newer_T % 2 == odd
                parts.append(keep_events(history, keep_T))
                events.append(every_T[keep_T])
                hidden.append(torch.zeros_like(events[-1], dtype=torch.bool))
        return joined(parts), torch.cat(events), torch.cat(hidden)

    def _is_hidden(self, newer_T: Tensor) -> Tensor:
        return newer_T % self.hidden_every == self.hidden_every - 1

    def _pairs(self, owner_T: Tensor, newer_T: Tensor, positive_T: Tensor) -> tuple[Tensor, Pairs]:
        """Anchors as rows of the stack, and the pairs with targets as events."""
        anchor_P, target_P, weight_P = self._ahead(owner_T, newer_T, positive_T)
        if self.masked_event > 0:
            hidden_H = (self._is_hidden(newer_T) & (newer_T < self.newest_events) & positive_T).nonzero()[:, 0]
            # The hidden copies' rows follow those of the histories.
            anchor_P = torch.cat([anchor_P, hidden_H + owner_T.size(0)])
            target_P = torch.cat([target_P, hidden_H])
            weight_H = self.masked_event * shares(owner_T[hidden_H], torch.ones_like(hidden_H, dtype=torch.bool))
            weight_P = torch.cat([weight_P, weight_H])
        return anchor_P, Pairs(anchor_P, target_P, weight_P, owner_T[target_P])

    def _ahead(self, owner_T: Tensor, newer_T: Tensor, positive_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Anchor and target events of the losses that look ahead, each pair once, and its weight in all of them."""
        rows_A = (newer_T < self.newest_events).nonzero()[:, 0]
        ahead_W = torch.arange(1, self.furthest + 1, device=owner_T.device)
        place_P = (ahead_W <= newer_T[rows_A, None]).nonzero()
        place_P = place_P[positive_T[rows_A[place_P[:, 0]] + ahead_W[place_P[:, 1]]]]
        anchor_P, ahead_P = rows_A[place_P[:, 0]], ahead_W[place_P[:, 1]]
        owner_P = owner_T[anchor_P]
        weight_P = self.next_token * shares(owner_P, ahead_P == 1)
        if self.multi_token > 0:
            weight_P = weight_P + self.multi_token * shares(owner_P, torch.ones_like(ahead_P, dtype=torch.bool))
        if self.future_token > 0:
            weight_P = weight_P + self.future_token * shares(owner_P, newer_T[anchor_P] == self.window)
        return anchor_P, anchor_P + ahead_P, weight_P

    def _views(self, history: History, stack: History) -> tuple[Tensor, Tensor, Pairs]:
        """Newest rows of one view and of the other, each way, and whose they are."""
        num_histories = history.lengths.size(0)
        if self.contrastive == 0.0:
            none, no_weight = history.lengths[:0], torch.zeros([0], device=history.lengths.device)
            return none, none, Pairs(none, none, no_weight, none)
        newest_S = newest_events(stack.lengths)
        first_U, second_U = newest_S[-2 * num_histories : -num_histories], newest_S[-num_histories:]
        # Both views hold two events where the shorter one, of the odd distances, does.
        both = (history.lengths >= 4).nonzero()[:, 0]
        anchor_B = torch.cat([first_U[both], second_U[both]])
        other_B = torch.cat([second_U[both], first_U[both]])
        weight_B = torch.full([anchor_B.size(0)], self.contrastive / 2, device=anchor_B.device)
        return anchor_B, other_B, Pairs(anchor_B, other_B, weight_B, torch.cat([both, both]))


def shares(owner_P: Tensor, counted_P: Tensor) -> Tensor:
    """(P,) float32 weights that make a sum a mean over each history's pairs: those of `counted_P` (P,) bool."""
    counted_P = counted_P.float()
    count_P = torch.bincount(owner_P, counted_P)[owner_P]
    return counted_P / count_P.clamp(min=1.0)
