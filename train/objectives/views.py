"""The self-supervised losses that encode a segment once more: with some items hidden, and as two views of it.

T  events     S  segments     P  segments with two views     K  views of all ranks     O  width of H
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS
from pinfm.model.losses import Negatives, view_losses
from pinfm.model.views import hide_items, newest_events, two_views
from pinfm.train.distributed import gather_rows, mean_over_ranks
from pinfm.train.loader.batches import SegmentBatch

# A view of fewer says too little of its user.
FEWEST_EVENTS = 2


def masked_event_states(encoder: SequenceEncoder, history: History, item_TE: Tensor, hidden_T: Tensor) -> Tensor:
    """(T, O): the states after events of which some hide their items.

    Args:
        encoder: the tower.
        history: the segments.
        item_TE: item vectors of their events.
        hidden_T: bool, which events hide theirs.
    """
    return _states(encoder, history, hide_items(item_TE, hidden_T))


def view_loss(encoder: SequenceEncoder, batch: SegmentBatch, item_TE: Tensor, temperature: float) -> Tensor:
    """Mean InfoNCE between the two views of each segment, against the views of the other users of all ranks.

    Args:
        encoder: the tower.
        batch: the segments; those with a view of fewer than two events take no part.
        item_TE: item vectors of their events.
        temperature: of this loss.
    """
    views, view_TE = two_views(batch.history, item_TE, batch.half)
    states_TO = _states(encoder, views, view_TE)
    num_segments = batch.user.size(0)
    long_2S = views.lengths.view(2, num_segments) >= FEWEST_EVENTS
    segment_P = torch.nonzero(long_2S.all(0))[:, 0]
    first_P, second_P = newest_events(views.lengths).view(2, num_segments)[:, segment_P]
    # Of length 1 already, but for tied heads.
    first_PO, second_PO = F.normalize(states_TO[first_P], dim=1), F.normalize(states_TO[second_P], dim=1)
    user_P = batch.user[segment_P]
    others = _views_of_others(torch.cat([first_PO, second_PO]), user_P.repeat(2), num_segments)
    t = torch.tensor(temperature, device=states_TO.device)
    losses_A = view_losses(first_PO, second_PO, user_P, t, others)
    return mean_over_ranks(losses_A.sum(), torch.tensor(losses_A.size(0), device=losses_A.device))


def _states(encoder: SequenceEncoder, history: History, item_TE: Tensor) -> Tensor:
    """H where nobody says when it is read: a hidden event has been dated, and a view may end anywhere."""
    unknown_T = torch.full_like(history.timestamp, NUM_GAP_BUCKETS)
    return encoder.states(encoder.encode_context(history, item_TE), unknown_T)


def _views_of_others(views_KO: Tensor, user_K: Tensor, num_users: int) -> Negatives:
    """Every rank's views; a user's own are on one rank alone, where they are no negatives."""
    own = torch.arange(num_users, device=user_K.device)[:, None] == user_K
    blocks = gather_rows(views_KO)
    return Negatives(
        z=torch.cat(blocks),
        log_weight=torch.zeros(sum(block.size(0) for block in blocks), device=views_KO.device),
        engaged=torch.cat(
            [
                own if rank == dist.get_rank() else own.new_zeros(num_users, block.size(0))
                for rank, block in enumerate(blocks)
            ],
            dim=1,
        ),
    )
