"""The self-supervised losses over all ranks: sums are divided by the count of all, negatives are gathered from all.

T  events     V  unique items of the rank     K  of all ranks     O  width of H and z
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pinfm.model.losses import Negatives, Sequences, engaged_items, negative_logsumexp, pair_losses
from pinfm.train.distributed import gather_rows, mean_over_ranks, sum_over_ranks


def contrastive_losses(
    temperature: Tensor,
    states_TO: Tensor,
    z_VO: Tensor,
    sequences: Sequences,
    negatives: Negatives,
    pair_sets: Sequence[tuple[Tensor, Tensor]],
) -> list[Tensor]:
    """Mean InfoNCE over each set of (anchor, target) pairs.

    Args:
        temperature: t.
        states_TO: H of every event.
        z_VO: psi of the rank's unique items.
        sequences: the events.
        negatives: what anchors are compared with.
        pair_sets: anchors and targets as event indices.
    """
    user_T = torch.repeat_interleave(sequences.user, sequences.lengths)
    anchors_A, anchor_of_pair = torch.unique(torch.cat([anchors for anchors, _ in pair_sets]), return_inverse=True)
    negative_A = negative_logsumexp(states_TO[anchors_A], user_T[anchors_A], temperature, negatives)
    losses = []
    for (anchors, targets), anchor_rows in zip(
        pair_sets, anchor_of_pair.split([len(anchors) for anchors, _ in pair_sets]), strict=True
    ):
        z_PO = z_VO[sequences.item[targets]]
        pairs_P = pair_losses(states_TO[anchors], z_PO, temperature, negative_A[anchor_rows], negatives.hold_targets())
        losses.append(mean_over_ranks(pairs_P.sum(), torch.tensor(len(anchors), device=pairs_P.device)))
    return losses


def negatives_of_all_ranks(
    z_VO: Tensor, sequences: Sequences, ids_V: Tensor, log_weight_V: Tensor, among: Tensor | None = None
) -> Negatives:
    """Items of every rank as negatives; the gradient flows back to the rank that owns them.

    Args:
        z_VO: psi of this rank's unique items.
        sequences: this rank's events.
        ids_V: raw ids of the items, ascending.
        log_weight_V: how much each counts; from `log_weights`.
        among: int64, ascending, the items that may be negatives; None where all may.
    """
    of_rank = (z_VO, ids_V, log_weight_V)
    z_KO, ids_K, log_weight_K = of_rank if among is None else (x.index_select(0, among) for x in of_rank)
    ids = [rows[:, 0] for rows in gather_rows(ids_K[:, None])]
    return Negatives(
        z=torch.cat(gather_rows(z_KO)),
        log_weight=torch.cat(gather_rows(log_weight_K[:, None]))[:, 0],
        engaged=torch.cat([engaged_items(sequences, ids_V, ids_K) for ids_K in ids], dim=1),
    )


def log_expected(counts_V: Tensor, log_share_V: Tensor) -> Tensor:
    """Log of how often each item is to be expected among the draws of all ranks.

    Args:
        counts_V: this rank's draws.
        log_share_V: log of each item's share of what is drawn from.
    """
    return log_share_V + sum_over_ranks(counts_V.sum()).clamp(min=1).float().log()
