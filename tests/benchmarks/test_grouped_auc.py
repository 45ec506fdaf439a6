"""The share of some actions in the history against a loop over requests."""

import pytest
from loops import events_by_user, history_of, requests_of

from benchmarks.grouped_auc import history_rates
from pinfm.train.data.dataset import PreparedDataset


def test_rates_are_those_of_a_loop(dataset):
    data = PreparedDataset.open(dataset)
    events, codes = events_by_user(data), [data.info.schema.actions.index(name) + 1 for name in ("click", "save")]
    expected = []
    for request in requests_of(data, "test"):
        history = history_of(events[request["user_id"]], request["timestamp"], 5)
        clicks = sum(event["action"] in codes for event in history)
        rate = (clicks + 1) / (len(history) + 2)
        expected += [(request["user_id"], pytest.approx(rate), label) for label in request["label_click"]]
    rates, labels, users = history_rates(data, "test", "click", ["click", "save"], max_history=5)
    found = list(zip(users.tolist(), rates.tolist(), labels.tolist(), strict=True))
    assert found == expected
    assert len({rate for _, rate, _ in found}) > 3
