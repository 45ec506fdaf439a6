"""Which examples make up each step: every one once, the same at any number of ranks, groups together."""

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.train.loader.feed import Feed
from pinfm.train.loader.streams import StreamPlan, num_steps, read_stream


@dataclass
class Numbers:
    """A bucket of numbered examples."""

    ids: np.ndarray
    groups: np.ndarray


class Source:
    """Buckets of given sizes; example k of bucket b is 1000 b + k, and `group_size` neighbours make a group."""

    def __init__(self, sizes, group_size=1):
        self.sizes, self.group_size, self.num_buckets = sizes, group_size, len(sizes)
        self.reads = []

    def size(self, bucket):
        return self.sizes[bucket]

    def read(self, bucket):
        self.reads.append(bucket)
        numbers = np.arange(self.sizes[bucket])
        return Numbers(1000 * bucket + numbers, numbers // self.group_size)

    def all(self):
        return [1000 * bucket + k for bucket, size in enumerate(self.sizes) for k in range(size)]


def plan(streams=4, per_stream=3, seed=0, shuffle=True):
    return StreamPlan(num_streams=streams, batch_size=streams * per_stream, seed=seed, shuffle=shuffle)


def epoch_of(source, how, stream, epoch=0, skip=0, steps=None):
    steps = num_steps(source, how, stream) - skip if steps is None else steps
    return [
        draw.bucket.ids[draw.rows].tolist() for draw in islice(read_stream(source, how, stream, epoch, skip), steps)
    ]


sizes = st.lists(st.integers(0, 11), min_size=1, max_size=9)


@given(sizes, st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(1, 3))
def test_an_epoch_gives_every_example_once(sizes, streams, per_stream, shuffle, group_size):
    source, how = Source(sizes, group_size), plan(streams, per_stream, shuffle=shuffle)
    drawn = [epoch_of(source, how, stream) for stream in range(streams)]
    assert sorted(id for steps in drawn for step in steps for id in step) == source.all()
    assert all(0 < len(step) <= per_stream for steps in drawn for step in steps)


@given(sizes, st.integers(0, 8), st.integers(1, 3))
def test_skipping_steps_equals_dropping_them(sizes, skip, epoch):
    source, how = Source(sizes, 2), plan(2, 3)
    whole, rest = (
        list(islice(read_stream(source, how, 1, epoch, first), steps)) for first, steps in ((0, 12), (skip, 12 - skip))
    )
    draws = [[(d.bucket.ids[d.rows].tolist(), d.rng.integers(2**60)) for d in part] for part in (whole, rest)]
    # Draws without examples follow the epoch; nothing is drawn at random for them.
    assert [d for d in draws[1] if d[0]] == [d for d in draws[0][skip:] if d[0]]
    assert [d[0] for d in draws[1]] == [d[0] for d in draws[0][skip:]]


def test_skipped_buckets_are_not_read():
    source = Source([6, 6, 6])
    epoch_of(source, plan(1, 3, shuffle=False), 0, skip=4)
    assert 0 not in source.reads[:1]
    assert 1 not in source.reads


@given(sizes, st.integers(2, 4))
def test_groups_stay_together_and_in_order(sizes, group_size):
    source, how = Source(sizes, group_size), plan(1, 5)
    stream = [id for step in epoch_of(source, how, 0) for id in step]
    groups = [(id // 1000, id % 1000 // group_size) for id in stream]
    assert len(dict.fromkeys(groups)) == sum(a != b for a, b in zip([None, *groups], groups, strict=False))
    assert all(a < b for a, b, g, h in zip(stream, stream[1:], groups, groups[1:], strict=False) if g == h)


def test_a_shuffle_depends_on_seed_and_epoch_alone():
    source = Source([40, 40])
    first, again = (epoch_of(source, plan(1), 0) for _ in range(2))
    assert first == again
    assert first != epoch_of(source, plan(1), 0, epoch=1)
    assert first != epoch_of(source, plan(1, seed=1), 0)
    in_order = epoch_of(source, plan(1, shuffle=False), 0)
    assert [id for step in in_order for id in step] == source.all()


def feed_of(monkeypatch, source, how, rank, world):
    for name, value in (("get_rank", rank), ("get_world_size", world)):
        monkeypatch.setattr(f"pinfm.train.loader.feed.dist.{name}", lambda value=value: value)
    longest = max(num_steps(source, how, stream) for stream in range(how.num_streams))
    monkeypatch.setattr("pinfm.train.loader.feed.max_over_ranks", lambda own: max(own, longest))
    return Feed(source, how, lambda draw: draw.bucket.ids[draw.rows], lambda arrays: arrays)


@pytest.mark.parametrize("world", [2, 4])
def test_a_step_has_the_same_examples_at_every_number_of_ranks(monkeypatch, world):
    source, how = Source([7, 0, 12, 3, 5, 9, 1], 2), plan(4, 3)
    steps = {}
    for ranks in (1, world):
        feeds = [list(feed_of(monkeypatch, source, how, rank, ranks).batches(2, 11)) for rank in range(ranks)]
        assert {len(batches) for batches in feeds} == {9}
        steps[ranks] = [sorted(np.concatenate(parts).tolist()) for parts in zip(*feeds, strict=True)]
    assert steps[world] == steps[1]
    assert any(not len(part) for part in list(feed_of(monkeypatch, source, how, 3, 4).batches(0, 8)))


def test_a_feed_goes_on_epoch_after_epoch(monkeypatch):
    source, how = Source([5, 5]), plan(1, 5)
    batches = [batch.tolist() for batch in feed_of(monkeypatch, source, how, 0, 1).batches(1, 6)]
    again = [batch.tolist() for batch in feed_of(monkeypatch, source, how, 0, 1).batches(0, 6)]
    assert batches == again[1:]
    for epoch in range(3):
        assert sorted(again[2 * epoch] + again[2 * epoch + 1]) == source.all()
    assert again[:2] != again[2:4]


def test_streams_that_processes_do_not_divide_are_refused(monkeypatch):
    with pytest.raises(UserError, match=r"data_streams \(4\) must be a multiple of .* \(3\); set data_streams to 3"):
        feed_of(monkeypatch, Source([5]), plan(4), 0, 3)


def test_streams_without_a_bucket_are_refused_in_training(monkeypatch):
    with pytest.raises(UserError, match=r"data_streams \(4\) is more than the dataset's buckets \(3\)"):
        feed_of(monkeypatch, Source([5] * 3), plan(4), 0, 1)
    in_order = replace(plan(4), shuffle=False)
    assert feed_of(monkeypatch, Source([5] * 3), in_order, 0, 1).steps_per_epoch
