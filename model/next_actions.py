"""What users did next, as requests: an event's item is a candidate, and what came strictly before it the history.

T  events     S  segments     U  moments     N  candidates     A  actions

a segment's events    10:00 a view    10:05 b view    10:05 b like    10:05 c view
moments               10:00           10:05, which sees `a view`
candidates            a               b               c
their actions         view            view, like      view
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.model.inputs import History, Reads
from pinfm.model.layers.jagged import positions


class NextActions(NamedTuple):
    """U moments at which users met N items.

    Args:
        reads: what each moment sees of its segment: the events before it.
        first: (U,) int64, the first event of each moment, which says when and where it is.
        lengths: (U,) int64, candidates of each moment.
        event: (N,) int64, the first event of each candidate, which has its item.
        actions: (N, A) float32, 1 where the user did it with the item at that moment.
    """

    reads: Reads
    first: Tensor
    lengths: Tensor
    event: Tensor
    actions: Tensor


def next_actions(segments: History, item_T: Tensor, num_actions: int) -> NextActions:
    """The moments of some segments.

    Args:
        segments: S segments.
        item_T: (T,) int64, each event's item as a number from 0 on.
        num_actions: A; codes from 1 to A are actions, and an unknown one is none of them.
    """
    owner_T = torch.repeat_interleave(segments.lengths)
    place_T = positions(segments.lengths, owner_T)
    opens_T = (place_T == 0) | (segments.timestamp != torch.roll(segments.timestamp, 1))
    moment_T = torch.cumsum(opens_T, 0) - 1
    first_U = torch.nonzero(opens_T)[:, 0]
    stride = int(item_T.max()) + 1 if item_T.numel() else 1
    key_N, candidate_T = torch.unique(moment_T * stride + item_T, return_inverse=True)
    every_T = torch.arange(item_T.size(0), device=item_T.device)
    event_N = torch.full_like(key_N, item_T.size(0)).scatter_reduce(0, candidate_T, every_T, "amin")
    actions = torch.zeros(key_N.size(0), num_actions + 1, device=item_T.device)
    actions[candidate_T, segments.action] = 1.0
    return NextActions(
        reads=Reads(owner_T[first_U], place_T[first_U]),
        first=first_U,
        lengths=torch.bincount(key_N // stride, minlength=first_U.size(0)),
        event=event_N,
        actions=actions[:, 1:],
    )
