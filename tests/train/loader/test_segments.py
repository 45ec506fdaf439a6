"""Cutting users' training events into segments."""

from dataclasses import replace

import loops
import numpy as np
import pytest
import runs
from hypothesis import given
from hypothesis import strategies as st

from pinfm.train.config import PretrainConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.loader.segments import SegmentReader, SegmentSource, cut_segments, random_halves
from pinfm.train.loader.streams import Draw


def segments_of(lengths, segment_length):
    users = np.repeat(np.arange(len(lengths)) * 7 - 3, lengths)
    return users, [range(a, a + n) for a, n in zip(*cut_segments(users, segment_length), strict=True)]


@given(st.lists(st.integers(1, 20), max_size=8), st.integers(2, 7))
def test_segments_cover_all_but_lone_events_once_and_end_at_the_newest(lengths, segment_length):
    users, segments = segments_of(lengths, segment_length)
    covered = [event for segment in segments for event in segment]
    assert len(covered) == len(set(covered))
    assert all(2 <= len(segment) <= segment_length for segment in segments)
    assert all(len(set(users[segment.start : segment.stop])) == 1 for segment in segments)
    ends = np.cumsum(lengths)
    expected = []
    for end, length in zip(ends.tolist(), lengths, strict=True):
        pieces = [
            range(max(end - length, stop - segment_length), stop) for stop in range(end, end - length, -segment_length)
        ]
        expected += [piece for piece in reversed(pieces) if len(piece) > 1]
    assert segments == expected


NO_ITEMS = np.zeros(0, dtype=np.int64)
DRAWS = PretrainConfig(window=3, pairs_per_anchor=2)


@pytest.fixture(scope="module")
def data(dataset):
    return PreparedDataset.open(dataset)


def test_only_events_before_the_end_of_training_are_read(data):
    source, train_end = SegmentSource(data, 8), data.info.splits["train"][1]
    read = []
    for bucket_number in range(source.num_buckets):
        bucket = source.read(bucket_number)
        assert source.size(bucket_number) == len(bucket.start)
        rows = np.arange(len(bucket.start))
        arrays = SegmentReader(DRAWS, NO_ITEMS, 0)(Draw(bucket=bucket, rows=rows, rng=np.random.default_rng(0)))
        owners = np.repeat(arrays.user_id, arrays.history.lengths)
        columns = [getattr(arrays.history, name).tolist() for name in loops.EVENT_COLUMNS]
        read += list(zip(owners.tolist(), *columns, strict=True))
    expected = []
    for user, events in loops.events_by_user(data).items():
        events = [e for e in events if e["timestamp"] < train_end]
        lone = 1 if len(events) % 8 == 1 else 0
        expected += [(user, *(e[name] for name in loops.EVENT_COLUMNS)) for e in events[lone:]]
    assert sorted(read) == sorted(expected)
    assert max(timestamp for *_, timestamp in read) < train_end
    assert any(e["timestamp"] >= train_end for events in loops.events_by_user(data).values() for e in events)


def test_targets_of_the_multi_token_loss_stand_one_to_window_ahead(data):
    bucket = SegmentSource(data, 8).read(0)
    rows = np.arange(len(bucket.start))
    ahead = SegmentReader(replace(runs.CONFIG.pretrain, pairs_per_anchor=5), NO_ITEMS, 0)(
        Draw(bucket=bucket, rows=rows, rng=np.random.default_rng(0))
    ).ahead
    assert ahead.shape == (bucket.length.sum(), 5)
    assert set(np.unique(ahead)) == {1, 2, 3}


def test_negatives_are_drawn_evenly_from_the_catalogue(data):
    bucket, catalogue = SegmentSource(data, 8).read(0), np.array([5, -3, 11])
    reader = SegmentReader(DRAWS, catalogue, 3000)
    drawn, again = (
        reader(Draw(bucket=bucket, rows=np.zeros(0, np.int64), rng=np.random.default_rng(0))).drawn for _ in range(2)
    )
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [-3, 5, 11]
    assert np.abs(counts - 1000).max() < 150
    assert (drawn == again).all()


def drawn(data, **options):
    """What a reader draws for the segments of a bucket, and the next number of its generator."""
    bucket, rng = SegmentSource(data, 8).read(0), np.random.default_rng(0)
    reader = SegmentReader(replace(DRAWS, **options), np.arange(50), 100)
    return reader(Draw(bucket=bucket, rows=np.arange(len(bucket.start)), rng=rng)), rng.random()


def test_what_no_loss_asks_for_is_not_drawn(data):
    plain, after = drawn(data)
    rng = np.random.default_rng(0)
    rng.integers(1, 3, size=plain.ahead.shape, endpoint=True)
    rng.integers(50, size=100)
    assert after == rng.random()
    assert not plain.hidden.any()
    assert not plain.half.any()
    more, _ = drawn(data, masked_event_weight=1.0, masked_events=0.3, contrastive_weight=1.0)
    np.testing.assert_array_equal(more.ahead, plain.ahead)
    np.testing.assert_array_equal(more.drawn, plain.drawn)
    assert more.hidden.shape == more.half.shape == plain.history.item_id.shape


def test_a_share_of_the_events_hide_their_items(data):
    hidden = drawn(data, masked_event_weight=1.0, masked_events=0.3)[0].hidden
    assert abs(hidden.mean() - 0.3) < 4 * (0.21 / len(hidden)) ** 0.5


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 2**32))
def test_halves_of_every_segment_are_as_long_as_can_be(lengths, seed):
    half = random_halves(np.array(lengths, dtype=np.int64), np.random.default_rng(seed))
    assert [int(part.sum()) for part in np.split(half, np.cumsum(lengths)[:-1])] == [
        -(-length // 2) for length in lengths or [0]
    ]


def test_every_half_is_drawn():
    halves = random_halves(np.full(600, 4), np.random.default_rng(0)).reshape(600, 4)
    kinds, counts = np.unique(halves, axis=0, return_counts=True)
    assert len(kinds) == 6  # 4 over 2
    assert counts.min() > 60
