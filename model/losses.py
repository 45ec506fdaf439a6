"""The three self-supervised losses of PinFM (arXiv 2507.12704) and the supervised ones of joint fine-tuning.

All three are InfoNCE over pairs (anchor event i, target event j). With s_ij = <H_i, z_j> / t the loss of a pair is

    l_ij = -log( e^{s_ij} / (e^{s_ij} + sum_k e^{s_ik}) ) = softplus( logsumexp_k(s_ik) - s_ij )

so the sum over the negatives k is computed once per anchor and shared by all of its targets.

    T  events of the batch     A  anchors     V  unique items of the batch     S  segments     O  width of H and z
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.jagged import positions

# Stands for "no negatives" in place of -inf, whose logsumexp has no gradient.
_NEVER = -1e9


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
        engaged: (S, K) bool, true where the user engaged positively with the item, which makes it no negative.
    """

    z: Tensor
    log_weight: Tensor
    engaged: Tensor


def in_batch_log_weights(sequences: Sequences, num_items: int, log_q_V: Tensor | None) -> Tensor:
    """The batch's positive events as negatives for each other.

    Unique items weighted by their counts equal one negative per event, at a fraction of the products.

    Args:
        sequences: the batch.
        num_items: V.
        log_q_V: log of each item's expected share of the negatives; subtracted, so that popular items are not punished
            for being drawn more often (log-Q correction, Yi et al., RecSys 2019; on the negatives alone). None leaves
            the counts as they are.

    Returns:
        (V,) float32; -1e9 for items without a positive event.
    """
    counts_V = torch.bincount(sequences.item[sequences.positive], minlength=num_items)
    log_weight_V = counts_V.clamp(min=1).float().log()
    if log_q_V is not None:
        log_weight_V = log_weight_V - log_q_V
    return log_weight_V.masked_fill(counts_V == 0, _NEVER)


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
    logits_AK = ((states_AO / temperature) @ negatives.z.T).float()
    # In place: this block is by far the largest of the step, and copies of it are what the loss costs.
    logits_AK = logits_AK.add_(negatives.log_weight).masked_fill_(negatives.engaged[user_A], _NEVER)
    highest_A1 = logits_AK.detach().amax(dim=1, keepdim=True)
    # Below e^-50 of the largest nothing changes in float32, and on a CPU exp is ten times slower there.
    weights_AK = (logits_AK - highest_A1).clamp_(min=-50.0).exp()
    return highest_A1[:, 0] + weights_AK.sum(dim=1).log()


def pair_losses(states_PO: Tensor, z_PO: Tensor, temperature: Tensor, negative_P: Tensor) -> Tensor:
    """InfoNCE of P pairs.

    Args:
        states_PO: H of each pair's anchor.
        z_PO: psi of each pair's target.
        temperature: t.
        negative_P: the anchors' `negative_logsumexp`.

    Returns:
        (P,) float32.
    """
    positive_P = (states_PO * z_PO).sum(1).float() / temperature
    return F.softplus(negative_P - positive_P)


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
