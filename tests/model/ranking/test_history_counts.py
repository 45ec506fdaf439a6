"""Counts of a history against loops over its events."""

import torch
from model_fakes import random_requests, schema

from pinfm.model.inputs import History, Reads, own_histories
from pinfm.model.ranking.history_counts import NEWEST, HistoryCounts, count_features

ACTIONS = schema().actions


def history_of(lengths):
    torch.manual_seed(0)
    requests = random_requests(lengths, [1] * len(lengths), torch.randn(5, 4))
    return History(*(torch.cat(column) for column in zip(*(request.history for request in requests), strict=True)))


def counted(history, row, visible, now):
    """The row that the counts should give, named."""
    first = int(history.lengths[:row].sum())
    actions = history.action[first : first + visible].tolist()
    values = {f"newest_{name}_events": actions[-NEWEST:].count(code) for code, name in enumerate(ACTIONS, start=1)}
    values |= {f"all_{name}_events": actions.count(code) for code, name in enumerate(ACTIONS, start=1)}
    values["seconds_since_newest_event"] = now - int(history.timestamp[first + visible - 1]) if visible else 0
    return values


def named(row):
    return dict(zip((feature.name for feature in count_features(ACTIONS)), row.tolist(), strict=True))


def test_counts_are_those_of_a_loop():
    history = history_of([20, 0, 3, 0])
    now = torch.full((4,), int(history.timestamp.max()) + 5)
    rows = HistoryCounts(len(ACTIONS))(history, own_histories(history.lengths), now)
    for row, length in enumerate(history.lengths.tolist()):
        assert named(rows[row]) == counted(history, row, length, int(now[row]))


def test_a_request_counts_what_it_sees_of_a_shared_history():
    history = history_of([20, 6])
    reads = Reads(torch.tensor([0, 0, 1]), torch.tensor([0, 11, 6]))
    now = torch.full((3,), int(history.timestamp.max()))
    rows = HistoryCounts(len(ACTIONS))(history, reads, now)
    for row, (owner, visible) in enumerate(zip(*reads, strict=True)):
        assert named(rows[row]) == counted(history, int(owner), int(visible), int(now[row]))


def test_batches_without_events_are_all_zero():
    history = history_of([0, 0])
    rows = HistoryCounts(len(ACTIONS))(history, own_histories(history.lengths), torch.tensor([1, 2]))
    assert rows.shape == (2, 2 * len(ACTIONS) + 1)
    assert not rows.any()
