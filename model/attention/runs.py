"""Attention over jagged rows on a CPU, neighbours of one shape at a time: no padding, no masks, no copies.

    U  requests     N  their candidates     S  histories     T  their events

A CPU's attention kernel wants blocks of equal sequences. Jagged rows are such a block wherever neighbours are alike,
and a request that is like no neighbour is a block of one:

    candidates_U = [2, 2, 1]     visible_U = [3, 3, 5]     ->     Run(requests 2, queries 2, events 3), Run(1, 1, 5)

Each run is a call. Where calls cost more than scores of padding would (many small requests), there are no runs, and
`padded.py` does it in one call, as long as its mask is no memory to speak of; `visibility.py` chooses.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# A call forward and backward takes about as long as so many scores, divided by the width of the transformer.
SCORES_PER_CALL = 1 << 20
# Of a padded block's mask, made once a batch for all layers: 64 MB in float32.
MOST_HELD = 1 << 24


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


def runs_if_better(
    runs: list[Run],
    padding: int,
    held: int,
    scores_per_call: int = SCORES_PER_CALL,  # TorchScript reads no globals, but takes defaults from them
    most_held: int = MOST_HELD,
) -> list[Run]:
    """The runs, or none where one padded block is better.

    Args:
        runs: a call each.
        padding: scores that the block has more, times the width of the transformer.
        held: numbers of the block's mask.
        scores_per_call: that take as long as a call.
        most_held: above it there are runs, whatever they take.
    """
    if len(runs) > 1 and len(runs) * scores_per_call > padding and held <= most_held:
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


def rows_of(x_THd: Tensor, first: int, count: int, length: int) -> Tensor:
    """(count, H, length, d): a view of the rows of `count` neighbours, as attention reads them."""
    rows = x_THd[first : first + count * length]
    return rows.view(count, length, x_THd.size(1), x_THd.size(2)).transpose(1, 2)
