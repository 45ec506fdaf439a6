"""Requests of a prepared dataset: each with its history, stored once per user, and its candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pinfm.embeddings.hashing import mix64
from pinfm.model.cold_start import candidate_id_randomization
from pinfm.model.schema import Feature, InputSchema
from pinfm.train.data.dataset import PreparedDataset, history_ranges
from pinfm.train.data.item_attributes import ItemAttributes
from pinfm.train.data.ragged import IntArray, list_column, ragged_index, scalar_column
from pinfm.train.loader.arrays import HistoryArrays, RequestArrays
from pinfm.train.loader.streams import Draw

EVENT_COLUMNS = ("item_id", "action", "surface", "timestamp")
# Draws by hash go by so many of its bits, which are what a float64 tells apart.
DRAWN_BITS = 53


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Which requests of a split are read.

    Args:
        since: those from this time on (Unix seconds).
        share: of them, this share, drawn by the hash of their ids.
        seed: of that draw.
    """

    since: int = 0
    share: float = 1.0
    seed: int = 0


EVERY_REQUEST = Kept()


@dataclass(frozen=True, kw_only=True)
class RequestBucket:
    """One bucket's events and requests as arrays.

    Args:
        events: column -> values, sorted by user and time.
        history_start: first event of each request's history.
        history_length: events of each request's history.
        candidate_start: first candidate of each request.
        candidate_length: candidates of each request.
        groups: requests of equal number stay together in the shuffle, so that they can share one encoded history.
        scalars: request column -> (requests,).
        lists: candidate column -> (candidates,).
    """

    events: dict[str, IntArray]
    history_start: IntArray
    history_length: IntArray
    candidate_start: IntArray
    candidate_length: IntArray
    groups: IntArray
    scalars: dict[str, npt.NDArray[np.generic]]
    lists: dict[str, npt.NDArray[np.generic]]


class RequestSource:
    """Reads the requests of one split, a bucket at a time.

    Args:
        dataset: the prepared dataset.
        split: `train`, `validation` or `test`.
        max_history: newest events kept of each history.
        group_size: so many successive requests of a user stay together in the shuffle.
        window_step: full windows start at every so many events of a user, so that successive requests share them.
        kept: which of the split's requests are read.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        split: str,
        *,
        max_history: int,
        group_size: int = 1,
        window_step: int = 1,
        kept: Kept = EVERY_REQUEST,
    ) -> None:
        self._dataset, self._split, self._kept = dataset, split, kept
        self._max_history, self._group_size, self._window_step = max_history, group_size, window_step
        self.num_buckets = dataset.info.num_buckets
        self.size = cache(self._size)

    def _size(self, bucket: int) -> int:
        if self._kept.since <= self._dataset.info.time_span[0] and self._kept.share == 1.0:
            return self._dataset.num_requests(self._split, bucket)
        return len(self._requests(bucket, ("timestamp", "request_id")))

    def _requests(self, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        requests = self._dataset.requests(self._split, bucket, columns)
        requests = requests.filter(pc.greater_equal(requests["timestamp"], self._kept.since))
        if self._kept.share == 1.0:
            return requests
        ids = scalar_column(requests, "request_id").astype(np.int64)
        return requests.filter(pa.array(drawn_by_hash(ids, self._kept.share, self._kept.seed)))

    def read(self, bucket: int) -> RequestBucket:
        """The requests of a bucket with the ranges of their histories."""
        events = self._dataset.events(bucket)
        requests = self._requests(bucket)
        start, end = history_ranges(events, requests, self._max_history)
        start = align_starts(start, end, scalar_column(events, "user_id"), self._window_step)
        lists, lengths = {}, np.zeros(0, dtype=np.int64)
        for field in requests.schema:
            if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
                lists[field.name], lengths = list_column(requests, field.name)
        return RequestBucket(
            events={name: scalar_column(events, name).astype(np.int64) for name in EVENT_COLUMNS},
            history_start=start,
            history_length=end - start,
            candidate_start=np.cumsum(lengths) - lengths,
            candidate_length=lengths,
            groups=group_requests(scalar_column(requests, "user_id"), self._group_size),
            scalars={name: scalar_column(requests, name) for name in requests.column_names if name not in lists},
            lists=lists,
        )


class RequestReader:
    """Gathers the requests of a draw.

    Args:
        schema: tasks and features.
        items: content vectors.
        candidate_id_randomization: probability that a candidate's id is replaced; 0 in evaluation.
        share_histories: requests of one user whose windows start at the same event read one history.
    """

    def __init__(
        self, schema: InputSchema, items: ItemAttributes, candidate_id_randomization: float, share_histories: bool
    ) -> None:
        self._schema, self._items, self._randomization = schema, items, candidate_id_randomization
        self._share_histories = share_histories

    def __call__(self, draw: Draw[RequestBucket]) -> RequestArrays:
        """The drawn requests as arrays."""
        bucket, rows, schema = draw.bucket, draw.rows, self._schema
        candidates = ragged_index(bucket.candidate_start[rows], bucket.candidate_length[rows])
        item_id = bucket.lists["item_id"][candidates].astype(np.int64)
        labels = [bucket.lists[f"label_{task}"][candidates] for task in schema.tasks]
        start, visible = bucket.history_start[rows], bucket.history_length[rows]
        user_id = bucket.scalars["user_id"][rows].astype(np.int64)
        opens = opens_history(user_id, start) if self._share_histories else np.ones(len(rows), dtype=np.bool_)
        categorical = schema.of("categorical", "request") + schema.of("categorical", "candidate")
        return RequestArrays(
            history=gather_history(bucket.events, start[opens], longest_visible(visible, opens)),
            opens_history=opens,
            visible=visible,
            request_id=bucket.scalars["request_id"][rows].astype(np.int64),
            user_id=user_id,
            request_timestamp=bucket.scalars["timestamp"][rows].astype(np.int64),
            candidate_lengths=bucket.candidate_length[rows],
            item_id=item_id,
            embedded_item_id=self._randomize(item_id, draw.rng),
            created_at=bucket.lists["created_at"][candidates].astype(np.int64),
            content=self._items.content(item_id),
            categorical={f.name: _values(bucket, f, rows, candidates).astype(np.int64) for f in categorical},
            request_dense=_dense(bucket, schema.of("dense", "request"), rows, candidates, len(rows)),
            candidate_dense=_dense(bucket, schema.of("dense", "candidate"), rows, candidates, len(candidates)),
            labels=np.stack(labels, axis=1).astype(np.float32),
        )

    def _randomize(self, ids_N: IntArray, rng: np.random.Generator) -> IntArray:
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        replaced: IntArray = candidate_id_randomization(torch.from_numpy(ids_N), self._randomization, generator).numpy()
        return replaced


def drawn_by_hash(ids_R: IntArray, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """(R,) bool: the ids that a draw takes, the same on every machine; a larger share takes the same ids and more."""
    mixed_R = mix64(torch.from_numpy(ids_R) ^ mix64(torch.tensor(seed + 1)))
    drawn_R: npt.NDArray[np.bool_] = ((mixed_R & ((1 << DRAWN_BITS) - 1)).double() < share * 2.0**DRAWN_BITS).numpy()
    return drawn_R


def align_starts(start_R: IntArray, end_R: IntArray, user_id_T: npt.NDArray[np.generic], step: int) -> IntArray:
    """Moves the start of each window up to the next multiple of `step` events of its user.

    A window that slides with every event is another history for every request; one that jumps now and then can be
    encoded once for several. It costs a full window up to step - 1 of its oldest events.

        step 4, windows of at most 8      events of the user   0 1 2 3 4 5 6 7 8 9
        request after event 8             slides: 1..8         jumps:         4 5 6 7 8
        request after event 9             slides: 2..9         jumps:         4 5 6 7 8 9
    """
    if step == 1 or not len(user_id_T):
        return start_R
    first_T = np.searchsorted(user_id_T, user_id_T)
    first_R = first_T[np.minimum(start_R, len(user_id_T) - 1)]
    moved_R = first_R + -(-(start_R - first_R) // step) * step
    return np.where(start_R < end_R, np.minimum(moved_R, end_R), start_R)


def opens_history(user_id_U: IntArray, start_U: IntArray) -> npt.NDArray[np.bool_]:
    """Which requests read another history than the request before: of another user, or of another first event."""
    changes = (np.diff(user_id_U) != 0) | (np.diff(start_U) != 0)
    return np.concatenate([np.ones(min(1, len(user_id_U)), dtype=np.bool_), changes])


def longest_visible(visible_U: IntArray, opens_U: npt.NDArray[np.bool_]) -> IntArray:
    """(S,) the length of each shared history: what the request that sees most of it sees."""
    first = np.flatnonzero(opens_U)
    return np.maximum.reduceat(visible_U, first) if len(first) else np.zeros(0, dtype=np.int64)


def group_requests(user_id_R: npt.NDArray[np.generic], group_size: int) -> IntArray:
    """Numbers runs of at most `group_size` requests of one user, in the order of the rows."""
    if not len(user_id_R):
        return np.zeros(0, dtype=np.int64)
    new_user = np.concatenate([[True], np.diff(user_id_R) != 0])
    first_of_user = np.flatnonzero(new_user)[np.cumsum(new_user) - 1]
    opens = (np.arange(len(user_id_R)) - first_of_user) % group_size == 0
    return np.cumsum(opens) - 1


def gather_history(events: dict[str, IntArray], starts: IntArray, lengths: IntArray) -> HistoryArrays:
    """The events of some ranges, one after the other."""
    index = ragged_index(starts, lengths)
    return HistoryArrays(lengths=lengths, **{name: events[name][index] for name in EVENT_COLUMNS})


def _values(bucket: RequestBucket, feature: Feature, rows: IntArray, candidates: IntArray) -> npt.NDArray[np.generic]:
    if feature.scope == "request":
        return bucket.scalars[feature.name][rows]
    return bucket.lists[feature.name][candidates]


def _dense(
    bucket: RequestBucket, features: tuple[Feature, ...], rows: IntArray, candidates: IntArray, size: int
) -> npt.NDArray[np.float32]:
    columns = [_values(bucket, feature, rows, candidates).astype(np.float32) for feature in features]
    return np.stack(columns, axis=1) if columns else np.zeros((size, 0), dtype=np.float32)
