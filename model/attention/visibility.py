"""Who attends to what, worked out once a batch for all layers: as runs of equal neighbours, or as one padded block.

    U  requests     N  their candidates     S  histories     T  their events
    C  most candidates of a history         L  longest history

Layers then compute only: on CUDA none of them waits for a number.
"""

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from pinfm.model.attention.groups import Groups, group_lengths, groups_of
from pinfm.model.attention.runs import Run, runs_if_better, runs_of
from pinfm.model.inputs import Reads
from pinfm.model.layers.jagged import Layout, layout, pad, starts


class Histories(NamedTuple):
    """How the events of S histories attend to those before them.

    Args:
        runs: the histories as runs, their own events for queries; empty where padded blocks are better.
        where: the events' places in one padded block.
        groups: a few padded blocks; None where there are runs, and on a GPU, which takes the one.
    """

    runs: list[Run]
    where: Layout
    groups: Optional[Groups]  # noqa: UP045


class PaddedCrossing(NamedTuple):
    """Candidates laid out by history, not by request, so that shared keys and values are not copied.

    Args:
        candidates: their places.
        events: their places.
        bias: (S, C, L rounded up), 0 where a candidate may look, -3e4 on padding and on events after its request.
    """

    candidates: Layout
    events: Layout
    bias: Tensor


class Crossing(NamedTuple):
    """Which events each candidate sees.

    Args:
        runs: the requests as runs; empty where one padded block is better.
        block: the padded block; None where there are runs.
    """

    runs: list[Run]
    block: Optional[PaddedCrossing]  # noqa: UP045


def histories(lengths_S: Tensor, width: int) -> Histories:
    """What the attention among events has to know.

    Args:
        lengths_S: int64, events of each history.
        width: of the transformer.
    """
    runs: list[Run] = []
    groups: Optional[Groups] = None  # noqa: UP045
    if lengths_S.device.type == "cpu" and lengths_S.numel() > 0:
        no_event_S = torch.zeros_like(lengths_S)
        padding = block_size(lengths_S, lengths_S) - int(lengths_S.square().sum())
        runs = runs_if_better(runs_of(lengths_S, no_event_S, no_event_S), padding * width, held=0)
        if len(runs) == 0:
            groups = groups_of(lengths_S, group_lengths(lengths_S, width))
    return Histories(runs, layout(lengths_S), groups)


def crossing(candidates_U: Tensor, reads: Reads, lengths_S: Tensor, width: int) -> Crossing:
    """What the attention of candidates over histories has to know.

    Args:
        candidates_U: int64, candidates of each request.
        reads: which part of which history each request sees.
        lengths_S: int64, events of each history.
        width: of the transformer.
    """
    if lengths_S.device.type == "cpu" and lengths_S.numel() > 0:
        runs = runs_of(candidates_U, starts(lengths_S)[reads.history], reads.visible)
        held = block_size(by_history(candidates_U, reads, lengths_S), lengths_S)
        padding = held - int((candidates_U * reads.visible).sum())
        runs = runs_if_better(runs, padding * width, held)
        if len(runs) > 0:
            return Crossing(runs, None)
    return Crossing([], padded_crossing(candidates_U, reads, lengths_S))


def padded_crossing(candidates_U: Tensor, reads: Reads, lengths_S: Tensor) -> PaddedCrossing:
    """The padded form of `crossing`."""
    candidates, events = layout(by_history(candidates_U, reads, lengths_S)), layout(lengths_S)
    visible_N = torch.repeat_interleave(reads.visible, candidates_U)
    visible_SC = pad(visible_N[:, None], candidates)[:, :, 0]
    length = (events.max_length + 7) // 8 * 8  # CUDA wants rows that start at multiples of 16 bytes
    return PaddedCrossing(candidates, events, hidden_bias(visible_SC, length))


def hidden_bias(visible_SC: Tensor, length: int) -> Tensor:
    """(S, C, length): 0 on the events that a candidate sees, the first of its history, -3e4 on all others."""
    hidden_SCL = torch.arange(length, device=visible_SC.device) >= visible_SC[:, :, None]
    # Finite, in float16 too, so that an empty history has a denominator: of a row that is -inf throughout, kernels give
    # 0 for its logarithm. Beside it the candidate itself has all the weight.
    return torch.zeros(hidden_SCL.shape, device=visible_SC.device).masked_fill_(hidden_SCL, -3e4)


def by_history(candidates_U: Tensor, reads: Reads, lengths_S: Tensor) -> Tensor:
    """(S,) int64: candidates of all requests that read a history."""
    return torch.zeros_like(lengths_S).index_add(0, reads.history, candidates_U)


def block_size(rows_S: Tensor, columns_S: Tensor) -> int:
    """Scores in a padded block."""
    return rows_S.numel() * int(rows_S.max()) * int(columns_S.max())
