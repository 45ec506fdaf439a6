"""Requests as arrays and batches: the events each may see, its candidates and features, and the raw ids again."""

import loops
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.hashing import hash_rows, hash_seeds
from pinfm.embeddings.specs import IdTable, ManagedIdsConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.batches import RequestCollator
from pinfm.train.loader.requests import (
    Kept,
    RequestReader,
    RequestSource,
    align_starts,
    group_requests,
    longest_visible,
    opens_history,
)
from pinfm.train.loader.streams import Draw

ITEM = IdTable(name="item", num_hashes=2, rows=50, dim=4)
FEATURES = [IdTable(name=name, num_hashes=2, rows=40, dim=4) for name in ("user_id", "surface", "hour", "topic")]


@pytest.fixture(scope="module")
def data(dataset):
    return PreparedDataset.open(dataset)


@pytest.fixture(scope="module")
def items(data):
    return data.item_attributes


def read_all(data, items, split="train", randomization=0.0, share=True, seed=0, **window):
    """Every request of a split as one RequestArrays a bucket."""
    source = RequestSource(data, split, **{"max_history": 5, **window})
    reader = RequestReader(data.info.schema, items, randomization, share)
    for number in range(source.num_buckets):
        bucket = source.read(number)
        assert source.size(number) == len(bucket.history_start)
        rows = np.arange(len(bucket.history_start))
        yield reader(Draw(bucket=bucket, rows=rows, rng=np.random.default_rng(seed)))


def seen_events(arrays):
    """The events that each request sees, as tuples."""
    columns = [getattr(arrays.history, name).tolist() for name in loops.EVENT_COLUMNS]
    events = list(zip(*columns, strict=True))
    starts = np.cumsum(arrays.history.lengths) - arrays.history.lengths
    history = np.cumsum(arrays.opens_history) - 1
    return [events[starts[h] : starts[h] + n] for h, n in zip(history, arrays.visible, strict=True)]


def expected_events(data, split, max_history):
    users = loops.events_by_user(data)
    seen = {}
    for request in loops.requests_of(data, split):
        events = loops.history_of(users.get(request["user_id"], []), request["timestamp"], max_history)
        seen[request["request_id"]] = [tuple(event[name] for name in loops.EVENT_COLUMNS) for event in events]
    return seen


def test_requests_before_a_time_are_left_out(data, items):
    requests = loops.requests_of(data, "train")
    since = sorted(request["timestamp"] for request in requests)[len(requests) // 3]
    expected = {request["request_id"] for request in requests if request["timestamp"] >= since}
    kept = [arrays.request_id for arrays in read_all(data, items, kept=Kept(since=since))]
    assert sorted(np.concatenate(kept)) == sorted(expected)
    assert len(expected) < len(requests)


def test_a_share_of_the_requests_is_drawn_by_their_ids(data, items):
    def drawn(share, seed=0):
        arrays = read_all(data, items, kept=Kept(share=share, seed=seed))
        return set(np.concatenate([part.request_id for part in arrays]).tolist())

    every = drawn(1.0)
    assert every == {request["request_id"] for request in loops.requests_of(data, "train")}
    for share in (0.2, 0.5):
        spread = 4 * (share * (1 - share) / len(every)) ** 0.5
        assert abs(len(drawn(share)) / len(every) - share) < spread
    assert drawn(0.2) < drawn(0.5) < every
    assert drawn(0.5) != drawn(0.5, seed=1)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("max_history", [1, 5, 1000])
def test_each_request_sees_its_users_newest_events_before_it(data, items, share, max_history):
    expected = expected_events(data, "train", max_history)
    seen = {}
    for arrays in read_all(data, items, share=share, max_history=max_history):
        seen |= dict(zip(arrays.request_id.tolist(), seen_events(arrays), strict=True))
        lengths = arrays.history.lengths
        assert len(lengths) == arrays.opens_history.sum()
        if not share:
            assert arrays.opens_history.all()
            assert lengths.tolist() == arrays.visible.tolist()
    assert seen == expected


def test_sharing_saves_events(data, items):
    def stored(share):
        return sum(len(a.history.item_id) for a in read_all(data, items, share=share, max_history=1000))

    assert stored(True) < stored(False) / 2


def test_windows_that_jump_hold_the_newest_events_and_start_at_a_step(data, items):
    expected, step = expected_events(data, "train", 5), 2
    whole = expected_events(data, "train", 10**6)
    moved = 0
    for arrays in read_all(data, items, max_history=5, window_step=step):
        for request, events in zip(arrays.request_id.tolist(), seen_events(arrays), strict=True):
            newest = expected[request]
            assert events == newest[len(newest) - len(events) :]
            assert len(newest) - len(events) < step
            assert (len(whole[request]) - len(events)) % step == 0
            moved += len(events) < len(newest)
    assert moved > 10


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12)), min_size=1, max_size=6), st.integers(1, 5))
def test_aligned_starts_stay_inside_their_user(users, step):
    """Each user has some events and one request, whose window holds at most 6 of them."""
    user_id = np.repeat(np.arange(len(users)), [count for count, _ in users])
    first = np.cumsum([count for count, _ in users]) - [count for count, _ in users]
    end = first + [min(count, seen) for count, seen in users]
    start = np.maximum(first, end - 6)
    moved = align_starts(start, end, user_id, step)
    for a, b, stop, origin in zip(start, moved, end, first, strict=True):
        expected = next((k for k in range(a, stop) if (k - origin) % step == 0), stop)
        assert b == (expected if a < stop else a)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 4)), max_size=12))
def test_a_history_opens_where_user_or_first_event_changes(rows):
    user, start, visible = (np.array([row[k] for row in rows], dtype=np.int64) for k in range(3))
    opens = opens_history(user, start)
    expected = [i == 0 or rows[i][:2] != rows[i - 1][:2] for i in range(len(rows))]
    assert opens.tolist() == expected
    longest = []
    for opening, length in zip(expected, visible.tolist(), strict=True):
        if opening:
            longest.append(length)
        longest[-1] = max(longest[-1], length)
    assert longest_visible(visible, opens).tolist() == longest


@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 4))
def test_groups_are_successive_requests_of_one_user(counts, size):
    groups = group_requests(np.repeat(np.arange(len(counts)), counts), size)
    expected = [(user, k // size) for user, count in enumerate(counts) for k in range(count)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(expected))}
    assert groups.tolist() == [numbers[key] for key in expected]


def test_candidates_and_features_are_the_datasets(data, items):
    requests = {request["request_id"]: request for request in loops.requests_of(data, "validation")}
    content = {item["item_id"]: item["content"] for item in data.items().to_pylist()}
    found = 0
    for arrays in read_all(data, items, split="validation"):
        at = 0
        for row, request_id in enumerate(arrays.request_id.tolist()):
            request, length = requests[request_id], arrays.candidate_lengths[row]
            here = slice(at, at + length)
            assert arrays.item_id[here].tolist() == request["item_id"]
            assert arrays.created_at[here].tolist() == request["created_at"]
            assert arrays.categorical["topic"][here].tolist() == request["topic"]
            assert arrays.categorical["hour"][row] == request["hour"]
            assert arrays.categorical["surface"][row] == request["surface"]
            assert arrays.candidate_dense[here, 0].tolist() == request["position"]
            np.testing.assert_allclose(arrays.content[here], [content[item] for item in request["item_id"]])
            for column, task in enumerate(data.info.schema.tasks):
                assert arrays.labels[here, column].tolist() == request[f"label_{task}"]
            assert arrays.request_timestamp[row] == request["timestamp"]
            assert arrays.user_id[row] == request["user_id"]
            at, found = at + length, found + 1
        assert arrays.request_dense.shape == (len(arrays.request_id), 0)
    assert found == len(requests)


def test_ids_are_randomised_only_where_asked(data, items):
    passes = [list(read_all(data, items, randomization=share)) for share in (0.0, 0.3, 0.3)]
    for plain, changed, again in zip(*passes, strict=True):
        assert np.array_equal(plain.embedded_item_id, plain.item_id)
        assert np.array_equal(changed.item_id, plain.item_id)
        assert np.array_equal(changed.embedded_item_id, again.embedded_item_id)
        share = (changed.embedded_item_id != changed.item_id).mean()
        assert 0.15 < share < 0.45


@pytest.mark.parametrize("randomization", [0.0, 0.5])
def test_a_batch_gives_back_the_raw_ids(data, items, randomization):
    schema = data.info.schema
    collate = RequestCollator(Ids(ITEM, FEATURES, ManagedIdsConfig()), schema, observed=())
    for arrays in read_all(data, items, randomization=randomization):
        batch = collate(arrays)
        ids = batch.item_ids
        assert (ids[1:] > ids[:-1]).all()
        assert ids[batch.event_item].tolist() == arrays.history.item_id.tolist()
        assert ids[batch.candidate_item].tolist() == arrays.embedded_item_id.tolist()
        assert batch.candidates.item_id.tolist() == arrays.item_id.tolist()
        assert batch.positive.tolist() == [action in (1, 2) for action in arrays.history.action.tolist()]
        assert batch.reads.visible.tolist() == arrays.visible.tolist()
        # A history's user is numbered in the batch; the same user, the same number.
        users = np.unique(arrays.user_id)
        assert users[batch.user].tolist() == arrays.user_id[arrays.opens_history].tolist()
        assert_rows(batch.item_rows, "item", ITEM, ids)
        unique = {name: np.unique(arrays.categorical[name]) for name in ("surface", "hour", "topic")} | {
            "user_id": users
        }
        for table in FEATURES:
            assert_rows(batch.feature_rows, table.name, table, unique[table.name])
        assert users[batch.request_values[:, 0]].tolist() == arrays.user_id.tolist()
        assert unique["surface"][batch.request_values[:, 1]].tolist() == arrays.categorical["surface"].tolist()
        assert batch.candidates.surface.tolist() == arrays.categorical["surface"].tolist()
        assert unique["hour"][batch.request_values[:, 2]].tolist() == arrays.categorical["hour"].tolist()
        assert unique["topic"][batch.candidate_values[:, 0]].tolist() == arrays.categorical["topic"].tolist()


def assert_rows(jagged, name, table, ids):
    rows_KN = hash_rows(torch.as_tensor(ids), hash_seeds(table.num_hashes, table.seed), table.rows)
    for k in range(table.num_hashes):
        assert jagged[f"{name}_{k}"].values().tolist() == rows_KN[k].tolist()


def test_shares_are_those_of_positive_training_events(data, items):
    counts, train_end = {}, data.info.splits["train"][1]
    for events in loops.events_by_user(data).values():
        for event in events:
            if event["timestamp"] < train_end and event["action"] in data.info.schema.positive_codes():
                counts[event["item_id"]] = counts.get(event["item_id"], 0) + 1
    ids = items.item_id
    expected = np.log([max(counts.get(item, 0), 0.5) / sum(counts.values()) for item in ids.tolist()])
    np.testing.assert_allclose(items.log_share(ids), expected, rtol=1e-5)
    unknown = np.array([-5, 10**12])
    np.testing.assert_allclose(items.log_share(unknown), np.log(0.5 / sum(counts.values())), rtol=1e-5)
    assert not items.content(unknown).any()
