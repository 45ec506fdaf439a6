"""The self-supervised losses: the three of PinFM (arXiv 2507.12704), of masked events, and between views of a segment.

All are InfoNCE over pairs (anchor event i, target event j). With s_ij = <H_i, z_j> / t the loss of a pair is

    l_ij = -log( e^{s_ij} / (e^{s_ij} + sum_k e^{s_ik}) ) = softplus( logsumexp_k(s_ik) - s_ij )

so the sum over the negatives k is computed once per anchor and shared by all of its targets. Where the items compared
with are the whole catalogue, the target is one of them, and the loss is the full softmax's: logsumexp_k(s_ik) - s_ij.

    T  events of the batch     A  anchors     V  unique items of the batch     S  segments     O  width of H and z
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.layers.jagged import positions
from pinfm.model.layers.logsumexp import NEVER, log_sum_exp


class Sequences(NamedTuple):
    """The events of a batch as anchors and targets.

    Args:
        lengths: (S,) int64, events of each segment.
        user: (S,) int64, the segment's user as an index in [0, S); segments of one user share it.
        item: (T,) int64, index of each event's item among the V unique items.
        positive: (T,) bool, whether the event's action is in A_pos.
    """

    lengths: Tensor
    user: Tensor
    item: Tensor
    positive: Tensor


class Negatives(NamedTuple):
    """What anchors are compared with: K items.

    Args:
        z: (K, O), psi of the items.
        log_weight: (K,) float, log of how many negatives the item stands for; -1e9 for none.
        engaged: (S, K) bool, true where the user engaged positively with the item, which makes it no negative; (0, K)
            for the whole catalogue, where the targets are among the items.
    """

    z: Tensor
    log_weight: Tensor
    engaged: Tensor

    def hold_targets(self) -> bool:
        """Whether targets are among the items."""
        return self.engaged.size(0) == 0


def in_batch_counts(sequences: Sequences, num_items: int) -> Tensor:
    """(V,) int64: how many positive events of the batch each item has; they are negatives for each other."""
    return torch.bincount(sequences.item[sequences.positive], minlength=num_items)


def log_weights(counts_V: Tensor, log_q_V: Tensor | None) -> Tensor:
    """How much each item counts as a negative.

    Unique items weighted by their counts equal one negative per draw, at a fraction of the products.

    Args:
        counts_V: how often each item was drawn.
        log_q_V: log of how often it was to be expected; subtracted, so that the sum estimates the one over the whole
            catalogue, and popular items are not punished for being drawn more often (log-Q correction, Yi et al.,
            RecSys 2019; on the negatives alone). None leaves the counts as they are.

    Returns:
        (V,) float32; -1e9 for items that were not drawn.
    """
    log_weight_V = counts_V.clamp(min=1).float().log()
    if log_q_V is not None:
        log_weight_V = log_weight_V - log_q_V
    return log_weight_V.masked_fill(counts_V == 0, NEVER)


def engaged_items(sequences: Sequences, ids_V: Tensor, ids_K: Tensor) -> Tensor:
    """Which of K items each user engaged with positively in this batch.

    Args:
        sequences: the batch.
        ids_V: raw ids of its unique items.
        ids_K: raw ids to look for, ascending without duplicates.

    Returns:
        (S, K) bool, one row a user index.
    """
    engaged_SK = torch.zeros(sequences.lengths.size(0), ids_K.size(0), dtype=torch.bool, device=ids_K.device)
    if ids_K.numel() == 0:
        return engaged_SK
    user_T = torch.repeat_interleave(sequences.user, sequences.lengths)
    user_P, ids_P = user_T[sequences.positive], ids_V[sequences.item[sequences.positive]]
    place_P = torch.searchsorted(ids_K, ids_P).clamp(max=ids_K.size(0) - 1)
    found_P = ids_K[place_P] == ids_P
    engaged_SK[user_P[found_P], place_P[found_P]] = True
    return engaged_SK


def negative_logsumexp(states_AO: Tensor, user_A: Tensor, temperature: Tensor, negatives: Negatives) -> Tensor:
    """log sum_k exp(s_ik) over each anchor's negatives.

    Args:
        states_AO: H of the anchors.
        user_A: index of each anchor's user.
        temperature: t.
        negatives: the items to compare with.

    Returns:
        (A,) float32; about -1e9 where an anchor has no negative.
    """
    return log_sum_exp(states_AO / temperature, negatives.z, negatives.log_weight, negatives.engaged, user_A)


def pair_losses(
    states_PO: Tensor, z_PO: Tensor, temperature: Tensor, negative_P: Tensor, holds_target: bool = False
) -> Tensor:
    """InfoNCE of P pairs.

    Args:
        states_PO: H of each pair's anchor.
        z_PO: psi of each pair's target.
        temperature: t.
        negative_P: the anchors' `negative_logsumexp`.
        holds_target: whether the target is already in that sum.

    Returns:
        (P,) float32.
    """
    positive_P = (states_PO * z_PO).sum(1).float() / temperature
    return negative_P - positive_P if holds_target else F.softplus(negative_P - positive_P)


def next_token_pairs(sequences: Sequences, newest: int | None = None) -> tuple[Tensor, Tensor]:
    """L_ntl: every event with the one after it.

    Args:
        sequences: the batch.
        newest: keep only targets among the newest so many events of a segment; None keeps all. Histories of one
            user's successive requests overlap, so joint fine-tuning would otherwise train on old pairs over and over.

    Returns:
        (anchor, target) event indices, each (P,) int64: pairs within a segment whose target is positive.
    """
    anchors = _all_events(sequences)
    if newest is not None:
        owner_T = torch.repeat_interleave(sequences.lengths)
        from_end_T = sequences.lengths[owner_T] - positions(sequences.lengths, owner_T)
        anchors = anchors[from_end_T <= newest + 1]
    return _pairs_at(sequences, anchors, torch.ones_like(anchors))


def multi_token_pairs(sequences: Sequences, ahead_TR: Tensor) -> tuple[Tensor, Tensor]:
    """L_mtl: every event with some of the L' events after it.

    Args:
        sequences: the batch.
        ahead_TR: (T, R) int64 drawn from 1..L': how far ahead each of an anchor's R targets stands.

    Returns:
        (anchor, target) event indices.
    """
    anchors = _all_events(sequences).repeat_interleave(ahead_TR.size(1))
    return _pairs_at(sequences, anchors, ahead_TR.flatten())


def future_token_pairs(sequences: Sequences, anchor_length: int, window: int) -> tuple[Tensor, Tensor]:
    """L_ftl: the event at the downstream length L_d with each of the `window` events after it.

    Args:
        sequences: the batch.
        anchor_length: L_d, the history length that fine-tuning and serving will see.
        window: L'.

    Returns:
        (anchor, target) event indices; none from segments of at most L_d events.
    """
    owner_T = torch.repeat_interleave(sequences.lengths)
    at_length = positions(sequences.lengths, owner_T) == anchor_length - 1
    anchors = _all_events(sequences)[at_length].repeat_interleave(window)
    ahead = torch.arange(1, window + 1, device=anchors.device).repeat(int(at_length.sum()))
    return _pairs_at(sequences, anchors, ahead)


def masked_event_pairs(sequences: Sequences, hidden_T: Tensor) -> tuple[Tensor, Tensor]:
    """The masked-event loss: every event whose item is hidden with itself.

    Args:
        sequences: the batch.
        hidden_T: bool, the events that hide their items.

    Returns:
        (anchor, target) event indices: hidden events whose action is positive.
    """
    events = torch.nonzero(hidden_T & sequences.positive)[:, 0]
    return events, events


def view_losses(first_PO: Tensor, second_PO: Tensor, user_P: Tensor, temperature: Tensor, others: Negatives) -> Tensor:
    """The contrastive loss: InfoNCE between two views of P segments, each of them once the anchor and once the target.

    Args:
        first_PO: state of the first view.
        second_PO: of the second.
        user_P: index of each segment's user.
        temperature: t.
        others: the views to tell them from; `engaged` hides from each user the user's own.

    Returns:
        (2P,) float32, the first views as anchors, then the second.
    """
    anchors_AO, targets_AO = torch.cat([first_PO, second_PO]), torch.cat([second_PO, first_PO])
    negative_A = negative_logsumexp(anchors_AO, user_P.repeat(2), temperature, others)
    return pair_losses(anchors_AO, targets_AO, temperature, negative_A)


def _all_events(sequences: Sequences) -> Tensor:
    return torch.arange(sequences.item.size(0), device=sequences.item.device)


def _pairs_at(sequences: Sequences, anchors_P: Tensor, ahead_P: Tensor) -> tuple[Tensor, Tensor]:
    """Keeps the pairs whose target lies in the anchor's segment and is positive."""
    owner_T = torch.repeat_interleave(sequences.lengths)
    targets_P = anchors_P + ahead_P
    inside_P = targets_P < owner_T.size(0)
    anchors_P, targets_P = anchors_P[inside_P], targets_P[inside_P]
    kept_P = (owner_T[anchors_P] == owner_T[targets_P]) & sequences.positive[targets_P]
    return anchors_P[kept_P], targets_P[kept_P]
