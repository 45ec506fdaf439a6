"""Segments for pretraining: each user's training events, cut into pieces of L events without overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from pinfm.train.config import PretrainConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import IntArray, ragged_index, scalar_column
from pinfm.train.loader.arrays import BoolArray, SegmentArrays
from pinfm.train.loader.requests import EVENT_COLUMNS, gather_history
from pinfm.train.loader.streams import Draw


@dataclass(frozen=True, kw_only=True)
class SegmentBucket:
    """One bucket's events and where its segments lie.

    Args:
        events: column -> values, sorted by user and time.
        start: first event of each segment.
        length: events of each segment.
        user_id: of each segment.
        groups: each segment is shuffled on its own.
    """

    events: dict[str, IntArray]
    start: IntArray
    length: IntArray
    user_id: IntArray
    groups: IntArray


class SegmentSource:
    """Reads segments, a bucket at a time.

    Args:
        dataset: the prepared dataset; only its training events are read.
        segment_length: L.
    """

    def __init__(self, dataset: PreparedDataset, segment_length: int) -> None:
        self._dataset, self._segment_length = dataset, segment_length
        self.num_buckets = dataset.info.num_buckets
        self.size = cache(self._size)

    def _size(self, bucket: int) -> int:
        user_id = scalar_column(self._events(bucket, ("user_id", self._dataset.split_column)), "user_id").astype(
            np.int64
        )
        return len(cut_segments(user_id, self._segment_length)[0])

    def _events(self, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        table = self._dataset.events(bucket, columns)
        times_or_splits = scalar_column(table, self._dataset.split_column).astype(np.int64)
        return table.filter(pa.array(self._dataset.are_training(times_or_splits)))

    def read(self, bucket: int) -> SegmentBucket:
        """The segments of a bucket; users with a single event have none."""
        table = self._events(bucket)
        user_id = scalar_column(table, "user_id").astype(np.int64)
        start, length = cut_segments(user_id, self._segment_length)
        return SegmentBucket(
            events={name: scalar_column(table, name).astype(np.int64) for name in EVENT_COLUMNS},
            start=start,
            length=length,
            user_id=user_id[start],
            groups=np.arange(len(start)),
        )


class SegmentReader:
    """Gathers the segments of a draw.

    Args:
        config: what the losses ask for; for one of weight 0 nothing is drawn.
        catalogue: item ids to draw negatives from.
        num_drawn: negatives that each stream draws.
    """

    def __init__(self, config: PretrainConfig, catalogue: IntArray, num_drawn: int) -> None:
        self._window, self._pairs_per_anchor = config.window, config.pairs_per_anchor
        self._catalogue, self._num_drawn = catalogue, num_drawn
        self._masked_events = config.masked_events if config.masked_event_weight else 0.0
        self._halves, self._unmet = config.contrastive_weight > 0.0, config.unmet_items

    def __call__(self, draw: Draw[SegmentBucket]) -> SegmentArrays:
        """The drawn segments as arrays."""
        bucket, rows = draw.bucket, draw.rows
        history = gather_history(bucket.events, bucket.start[rows], bucket.length[rows])
        num_events = len(history.item_id)
        none = np.zeros(num_events, dtype=np.bool_)
        return SegmentArrays(
            history=history,
            user_id=bucket.user_id[rows],
            ahead=draw.rng.integers(1, self._window, size=(num_events, self._pairs_per_anchor), endpoint=True),
            drawn=self._catalogue[draw.rng.integers(len(self._catalogue), size=self._num_drawn)],
            hidden=draw.rng.random(num_events) < self._masked_events if self._masked_events else none,
            half=random_halves(history.lengths, draw.rng) if self._halves else none,
            unmet=self._others(bucket.events["item_id"], num_events, draw.rng),
        )

    def _others(self, item_id: IntArray, num_events: int, rng: np.random.Generator) -> IntArray:
        """(T, Q) items as often as they are met; of one bucket, whose users are as good a sample as any."""
        return item_id[rng.integers(len(item_id), size=(num_events, self._unmet))]


def random_halves(lengths_S: IntArray, rng: np.random.Generator) -> BoolArray:
    """(T,) bool: which events of each segment are a random half of it, rounded up.

    Args:
        lengths_S: events of each segment.
        rng: draws.
    """
    owner_T = np.repeat(np.arange(len(lengths_S)), lengths_S)
    shuffled_T = np.lexsort((rng.random(len(owner_T)), owner_T))
    place_T = ragged_index(np.zeros_like(lengths_S), lengths_S)
    half_T = np.empty(len(owner_T), dtype=np.bool_)
    half_T[shuffled_T] = place_T < (lengths_S[owner_T] + 1) // 2
    return half_T


def cut_segments(user_id_T: IntArray, segment_length: int) -> tuple[IntArray, IntArray]:
    """Cuts each user's run of events into segments that end at the user's newest event.

    Full segments then hold the newest events, and the remainder, which may be short, the oldest.

    Args:
        user_id_T: user of each event, equal ids adjacent.
        segment_length: L.

    Returns:
        start and length of each segment; segments of a single event, which predict nothing, are left out.
    """
    boundary = (
        np.flatnonzero(np.diff(user_id_T, prepend=user_id_T[:1] - 1)) if len(user_id_T) else np.zeros(0, np.int64)
    )
    first = np.asarray(boundary, dtype=np.int64)
    end = np.append(first[1:], len(user_id_T))[: len(first)]
    count = -(-(end - first) // segment_length)
    owner = np.repeat(np.arange(len(first)), count)
    from_last = np.concatenate([np.arange(n)[::-1] for n in count]) if len(count) else np.zeros(0, np.int64)
    stop = end[owner] - from_last * segment_length
    start = np.maximum(first[owner], stop - segment_length)
    kept = stop - start > 1
    return start[kept], (stop - start)[kept]
