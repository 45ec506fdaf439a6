"""Requests read from a dataset against its rows."""

import pytest
import torch
from loops import requests_of as rows_of_dataset
from robustness_fakes import MAX_HISTORY, rows_of_request, tiny_requests

from benchmarks.parts.robustness.requests import read_requests, rows_of, with_drawn_candidates
from pinfm.train.data.dataset import PreparedDataset


def test_requests_are_those_of_the_dataset(dataset):
    requests = tiny_requests(dataset, most=10_000, least_events=1)
    data = PreparedDataset.open(dataset)
    expected = {row["request_id"]: row for row in rows_of_dataset(data, "test")}
    first = 0
    for u, request_id in enumerate(requests.request_id.tolist()):
        row = expected[request_id]
        mine = slice(first, first + int(requests.inputs["candidate_lengths"][u]))
        first = mine.stop
        assert requests.inputs["candidate_item_id"][mine].tolist() == list(row["item_id"])
        assert requests.inputs["user_id"][u] == row["user_id"]
        assert requests.inputs["position"][mine].tolist() == pytest.approx(list(row["position"]))
        for i, task in enumerate(data.info.schema.tasks):
            assert requests.labels[mine, i].tolist() == [float(label) for label in row[f"label_{task}"]]
        times = requests.history.timestamp[rows_of_request(requests, u)]
        assert 1 <= len(times) <= MAX_HISTORY
        assert bool((times < row["timestamp"]).all())
    assert first == len(requests.labels) > 0


def test_short_histories_are_left_out_and_draws_repeat(dataset, requests):
    assert int(requests.history.lengths.min()) >= 3
    again = read_requests(PreparedDataset.open(dataset), "test", MAX_HISTORY, 20, 3)
    other = read_requests(PreparedDataset.open(dataset), "test", MAX_HISTORY, 20, 3, seed=1)
    assert torch.equal(requests.request_id, again.request_id)
    assert not torch.equal(requests.request_id, other.request_id)


def test_requests_can_be_taken_out_of_a_batch(requests):
    parts = requests.batches(7)
    assert [len(part.request_id) for part in parts] == [7, 7, 6]
    for name, values in requests.inputs.items():
        assert torch.equal(torch.cat([part.inputs[name] for part in parts]), values), name
    assert torch.equal(torch.cat([part.labels for part in parts]), requests.labels)
    two = requests.take(torch.tensor([5, 0]))
    assert two.request_id.tolist() == requests.request_id[[5, 0]].tolist()
    expected = requests.inputs["candidate_item_id"][rows_of(requests.inputs["candidate_lengths"], torch.tensor([5, 0]))]
    assert torch.equal(two.inputs["candidate_item_id"], expected)


def test_drawn_candidates_bring_their_features_and_do_not_depend_on_the_batch(requests):
    drawn = with_drawn_candidates(requests, requests, 12, seed=3)
    assert drawn.inputs["candidate_lengths"].tolist() == [12] * 20
    items = drawn.inputs["candidate_item_id"].view(20, 12)
    assert all(len(set(row)) == 12 for row in items.tolist())
    assert len({tuple(row) for row in items.tolist()}) == 20
    ids, times = (requests.inputs[f"candidate_{name}"].tolist() for name in ("item_id", "created_at"))
    created = dict(zip(ids, times, strict=True))
    assert drawn.inputs["candidate_created_at"].tolist() == [created[item] for item in items.flatten().tolist()]
    alone = with_drawn_candidates(requests.take(torch.tensor([7])), requests, 12, seed=3)
    assert torch.equal(alone.inputs["candidate_item_id"], items[7])
    assert torch.equal(drawn.inputs["user_id"], requests.inputs["user_id"])
