"""Which examples make up each step, the same at every number of ranks.

A dataset's buckets are dealt out to a fixed number of streams. A step takes batch_size / streams examples from every
stream; rank r of W reads the streams r, r + W, ... and no other bucket. So the examples of a step do not depend on W,
as long as W divides the number of streams, and a run can continue on other hardware.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from pinfm.train.data.ragged import IntArray

# What random numbers are for; each purpose has streams of its own.
BUCKETS, ROWS, DRAWS = range(3)


class Bucket(Protocol):
    """The examples of one file."""

    @property
    def groups(self) -> IntArray:
        """The group of each example, ascending; the shuffle keeps a group's examples together and in order."""
        ...


B = TypeVar("B", bound=Bucket)
B_co = TypeVar("B_co", bound=Bucket, covariant=True)


class BucketSource(Protocol[B_co]):
    """Reads buckets; `train/loader/requests.py` and `segments.py` have one each."""

    num_buckets: int

    def size(self, bucket: int) -> int:
        """The number of examples, without reading what only `read` needs."""
        ...

    def read(self, bucket: int) -> B_co:
        """The examples."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draw(Generic[B]):
    """The examples that one stream gives to a step.

    Args:
        bucket: where they stand.
        rows: which ones, (R,).
        rng: for random draws on these examples; depends on seed, epoch, stream and step alone.
    """

    bucket: B
    rows: IntArray
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """How a dataset is dealt out.

    Args:
        num_streams: over all ranks.
        batch_size: examples a step, over all ranks.
        seed: of the shuffles.
        shuffle: false reads buckets and rows in their order, for evaluation.
    """

    num_streams: int
    batch_size: int
    seed: int
    shuffle: bool

    @property
    def per_stream(self) -> int:
        """Examples that a stream gives to a step."""
        return self.batch_size // self.num_streams


def num_steps(source: BucketSource[B], plan: StreamPlan, stream: int) -> int:
    """Steps until the stream has given every example once."""
    return sum(-(-source.size(bucket) // plan.per_stream) for bucket in _buckets(source, plan, stream))


def read_stream(
    source: BucketSource[B], plan: StreamPlan, stream: int, epoch: int, skip_steps: int = 0
) -> Iterator[Draw[B]]:
    """One epoch of one stream, and then empty draws for as long as other streams still have examples.

    Args:
        source: reads buckets.
        plan: how they are dealt out.
        stream: which one.
        epoch: each has a shuffle of its own.
        skip_steps: steps to leave out at the start, without reading what only they need.
    """
    order_rng = np.random.default_rng([plan.seed, epoch, BUCKETS, stream])
    buckets = _buckets(source, plan, stream)
    if plan.shuffle:
        buckets = [buckets[i] for i in order_rng.permutation(len(buckets))]
    step = 0
    for bucket_number in buckets:
        size = source.size(bucket_number)
        last_step = step + -(-size // plan.per_stream)
        if last_step > skip_steps:
            bucket = source.read(bucket_number)
            rows = _order(bucket.groups, plan, epoch, bucket_number)
            for start in range(0, size, plan.per_stream):
                at = step + start // plan.per_stream
                if at >= skip_steps:
                    rng = np.random.default_rng([plan.seed, epoch, DRAWS, stream, at])
                    yield Draw(bucket=bucket, rows=rows[start : start + plan.per_stream], rng=rng)
        step = last_step
    spare = source.read(stream % source.num_buckets)
    for at in itertools.count(max(step, skip_steps)):
        rng = np.random.default_rng([plan.seed, epoch, DRAWS, stream, at])
        yield Draw(bucket=spare, rows=np.zeros(0, dtype=np.int64), rng=rng)


def _order(groups_R: IntArray, plan: StreamPlan, epoch: int, bucket: int) -> IntArray:
    """The rows of a bucket, group after group in shuffled order."""
    if not plan.shuffle or not len(groups_R):
        return np.arange(len(groups_R))
    place_of_group = np.random.default_rng([plan.seed, epoch, ROWS, bucket]).permutation(groups_R[-1] + 1)
    return np.argsort(place_of_group[groups_R], kind="stable")


def _buckets(source: BucketSource[B], plan: StreamPlan, stream: int) -> list[int]:
    return list(range(stream, source.num_buckets, plan.num_streams))
