"""Attention over jagged rows, neighbours of one shape at a time: no padding, no masks, no copies.

    U  requests     N  their candidates     S  histories     T  their events

A CPU's attention kernel wants blocks of equal sequences. Jagged rows are such a block wherever neighbours are alike,
and a request that is like no neighbour is a block of one:

    candidates_U = [2, 2, 1]     visible_U = [3, 3, 5]     ->     Run(requests 2, candidates 2, events 3), Run(1, 1, 5)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.model.inputs import Reads
from pinfm.model.layers.jagged import starts


class Run(NamedTuple):
    """Neighbouring requests that are alike.

    Args:
        requests: how many.
        candidates: of each.
        first_event: row of the first one's first event; the others' events follow without a gap.
        events: that each sees.
    """

    requests: int
    candidates: int
    first_event: int
    events: int


class Crossing(NamedTuple):
    """Which events each candidate sees.

    Args:
        candidates: (U,) int64, candidates of each request.
        history: (U,) int64, ascending, the history that each request reads.
        visible: (U,) int64, how many of its oldest events the request sees.
        lengths: (S,) int64, events of each history.
        runs: all of that for a CPU; empty on other devices.
    """

    candidates: Tensor
    history: Tensor
    visible: Tensor
    lengths: Tensor
    runs: list[Run]


def crossing(candidates_U: Tensor, reads: Reads, lengths_S: Tensor) -> Crossing:
    """What the attention of candidates over histories has to know.

    Args:
        candidates_U: int64, candidates of each request.
        reads: which part of which history each request sees.
        lengths_S: int64, events of each history.
    """
    runs: list[Run] = []
    if lengths_S.device.type == "cpu":
        runs = runs_of(candidates_U, starts(lengths_S)[reads.history], reads.visible)
    return Crossing(candidates_U, reads.history, reads.visible, lengths_S, runs)


def runs_of(candidates_U: Tensor, first_event_U: Tensor, visible_U: Tensor) -> list[Run]:
    """The runs of all requests that have candidates, in their order."""
    of_each: list[list[int]] = torch.stack([candidates_U, first_event_U, visible_U], dim=1).tolist()
    runs: list[Run] = []
    for candidates, first_event, events in of_each:
        if candidates > 0:
            joins = False
            if len(runs) > 0:
                run = runs[-1]
                alike = run.candidates == candidates and run.events == events
                joins = alike and (events == 0 or first_event == run.first_event + run.requests * events)
            if joins:
                run = runs[-1]
                runs[-1] = Run(run.requests + 1, run.candidates, run.first_event, run.events)
            else:
                runs.append(Run(1, candidates, first_event, events))
    return runs


def block(x_THd: Tensor, first: int, count: int, length: int) -> Tensor:
    """(count, H, length, d): a view of the rows of `count` neighbours, as attention reads them."""
    rows = x_THd[first : first + count * length]
    return rows.view(count, length, x_THd.size(1), x_THd.size(2)).transpose(1, 2)
