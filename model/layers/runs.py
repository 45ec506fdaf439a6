"""Attention over jagged rows on a CPU, neighbours of one shape at a time: no padding, no masks, no copies.

    U  requests     N  their candidates     S  histories     T  their events

A CPU's attention kernel wants blocks of equal sequences. Jagged rows are such a block wherever neighbours are alike,
and a request that is like no neighbour is a block of one:

    candidates_U = [2, 2, 1]     visible_U = [3, 3, 5]     ->     Run(requests 2, queries 2, events 3), Run(1, 1, 5)

Each run is a call. Where calls cost more than scores of padding would (many small requests), there are no runs, and
`attention_padded.py` does it in one call.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.model.inputs import Reads
from pinfm.model.layers.jagged import starts

# A call forward and backward takes about as long as so many scores, divided by the width of the transformer.
SCORES_PER_CALL = 1 << 20


class Run(NamedTuple):
    """Neighbouring requests that are alike.

    Args:
        requests: how many.
        queries: rows of each that look at events: its candidates.
        first_event: row of the first one's first event; the others' events follow without a gap.
        events: that each sees.
    """

    requests: int
    queries: int
    first_event: int
    events: int


class Crossing(NamedTuple):
    """Which events each candidate sees.

    Args:
        candidates: (U,) int64, candidates of each request.
        history: (U,) int64, ascending, the history that each request reads.
        visible: (U,) int64, how many of its oldest events the request sees.
        lengths: (S,) int64, events of each history.
        runs: all of that as runs; empty where one padded block is better.
    """

    candidates: Tensor
    history: Tensor
    visible: Tensor
    lengths: Tensor
    runs: list[Run]


def crossing(candidates_U: Tensor, reads: Reads, lengths_S: Tensor, width: int) -> Crossing:
    """What the attention of candidates over histories has to know.

    Args:
        candidates_U: int64, candidates of each request.
        reads: which part of which history each request sees.
        lengths_S: int64, events of each history.
        width: of the transformer.
    """
    runs: list[Run] = []
    if lengths_S.device.type == "cpu" and lengths_S.numel() > 0:
        runs = runs_of(candidates_U, starts(lengths_S)[reads.history], reads.visible)
        by_history_S = torch.zeros_like(lengths_S).index_add(0, reads.history, candidates_U)
        padding = block_size(by_history_S, lengths_S) - int((candidates_U * reads.visible).sum())
        runs = runs_if_better(runs, padding * width)
    return Crossing(candidates_U, reads.history, reads.visible, lengths_S, runs)


def history_runs(lengths_S: Tensor, width: int) -> list[Run]:
    """The histories as runs, their own events for queries; empty where one padded block is better.

    Args:
        lengths_S: int64, events of each history.
        width: of the transformer.
    """
    if lengths_S.device.type != "cpu" or lengths_S.numel() == 0:
        return []
    no_event_S = torch.zeros_like(lengths_S)
    padding = block_size(lengths_S, lengths_S) - int(lengths_S.square().sum())
    return runs_if_better(runs_of(lengths_S, no_event_S, no_event_S), padding * width)


def block_size(rows_S: Tensor, columns_S: Tensor) -> int:
    """Scores in a padded block."""
    return rows_S.numel() * int(rows_S.max()) * int(columns_S.max())


def runs_if_better(runs: list[Run], padding: int, scores_per_call: int = SCORES_PER_CALL) -> list[Run]:
    """The runs, or none where they would take more time than so many scores of padding times the width."""
    if len(runs) > 1 and len(runs) * scores_per_call > padding:
        return []
    return runs


def runs_of(candidates_U: Tensor, first_event_U: Tensor, visible_U: Tensor) -> list[Run]:
    """The runs of all requests that have candidates, in their order."""
    of_each: list[list[int]] = torch.stack([candidates_U, first_event_U, visible_U], dim=1).tolist()
    runs: list[Run] = []
    for candidates, first_event, events in of_each:
        if candidates > 0:
            run = runs[-1] if len(runs) > 0 else Run(0, 0, 0, 0)
            alike = run.queries == candidates and run.events == events
            follows = events == 0 or first_event == run.first_event + run.requests * events
            if alike and follows:
                runs[-1] = Run(run.requests + 1, run.queries, run.first_event, run.events)
            else:
                runs.append(Run(1, candidates, first_event, events))
    return runs


def block(x_THd: Tensor, first: int, count: int, length: int) -> Tensor:
    """(count, H, length, d): a view of the rows of `count` neighbours, as attention reads them."""
    rows = x_THd[first : first + count * length]
    return rows.view(count, length, x_THd.size(1), x_THd.size(2)).transpose(1, 2)
