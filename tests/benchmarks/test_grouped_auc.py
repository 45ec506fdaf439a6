"""The share of an action in the history against a loop over requests."""

import pytest
from loops import events_by_user, history_of, requests_of

from benchmarks.grouped_auc import history_rates
from pinfm.train.data.dataset import PreparedDataset


def test_rates_are_those_of_a_loop(dataset):
    data = PreparedDataset.open(dataset)
    events, code = events_by_user(data), data.info.schema.actions.index("click") + 1
    expected = []
    for request in requests_of(data, "test"):
        history = history_of(events[request["user_id"]], request["timestamp"], 5)
        clicks = sum(event["action"] == code for event in history)
        rate = (clicks + 1) / (len(history) + 2)
        expected += [(request["user_id"], pytest.approx(rate), label) for label in request["label_click"]]
    rates, labels, users = history_rates(data, "test", "click", max_history=5)
    found = list(zip(users.tolist(), rates.tolist(), labels.tolist(), strict=True))
    assert found == expected
    assert len({rate for _, rate, _ in found}) > 3
