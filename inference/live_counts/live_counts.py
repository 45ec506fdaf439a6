"""LiveCounts: fed with what happens, it answers with the counters that a request must bring (docs/live_counts.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pinfm.embeddings.errors import UserError, require_at_least
from pinfm.inference.live_counts.counters import KeyCounters
from pinfm.inference.live_counts.inputs import (
    ITEM_ID,
    REQUEST_TIMESTAMP,
    TIMESTAMP,
    USER_ID,
    Inputs,
    columns_of,
    has_attribute,
    moments,
    one_request,
    require_frame,
)
from pinfm.inference.live_counts.keys import Int64s
from pinfm.inference.live_counts.pending import Pending
from pinfm.inference.live_counts.saved import read_arrays, write_arrays
from pinfm.inference.requests.frames import list_values
from pinfm.inference.requests.values import as_array, convert
from pinfm.inference.signature import Signature
from pinfm.model.live_counts import LiveCountsSpec, live_counts_from_json
from pinfm.model.schema import IdType

# A mark that waits takes 8 bytes a column, so that four columns of so many take half a gigabyte.
MAX_PENDING = 1 << 24
MAX_KEYS = 1_000_000
CANDIDATES = "candidate_item_id"


class LiveCounts:
    """Counters of what has happened until now, exactly those that `prepare --live-counts` made for training.

    A request at second t sees the marks of the seconds before t. It takes the clock to t; later marks wait until the
    clock has passed them. A request from before the clock is answered as of the clock, and counted in `stats`. Any
    number of threads may call the methods: one call at a time is at work, a `save` included.

    Args:
        spec: what is counted.
        ids: how the log writes `item_id` and `user_id`, where it is not int64.
        max_keys: kept of each of `spec.of`; where a new one comes, the sixteenth that is longest without a mark leaves.
        max_pending: marks that may wait for the clock.

    Raises:
        UserError: a setting is out of range.

    Example:
        counts = LiveCounts.of("model")
        counts.add(pd.DataFrame({"timestamp": [1651800000], "item_id": [4], "kind": ["click"]}))
        scores = load("model").score(counts.fill(requests))
    """

    def __init__(
        self,
        spec: LiveCountsSpec,
        *,
        ids: Mapping[str, IdType] | None = None,
        max_keys: int = MAX_KEYS,
        max_pending: int = MAX_PENDING,
    ) -> None:
        require_at_least("", 1, max_keys=max_keys, max_pending=max_pending)
        self.spec, self.names = spec, spec.names()
        self.max_keys, self.max_pending = max_keys, max_pending
        self._inputs = Inputs(spec, ids or {})
        self._counters = {
            key: KeyCounters(len(columns_of(key)), spec.windows, len(spec.kinds), max_keys) for key in spec.of
        }
        self._pending = Pending(len(self._inputs.names))
        self._clock = self._late = self._behind = 0
        self._lock = RLock()

    @classmethod
    def of(cls, model: str | Path, *, max_keys: int = MAX_KEYS, max_pending: int = MAX_PENDING) -> "LiveCounts":
        """Those that a model folder's signature asks for.

        Raises:
            UserError: it asks for none, or is no model folder.
        """
        spec, ids = _asked_for(Path(model))
        return cls(spec, ids=ids, max_keys=max_keys, max_pending=max_pending)

    @property
    def clock(self) -> int:
        """Unix seconds of the newest request or `advance`; 0 before the first."""
        return self._clock

    def add(self, marks: pd.DataFrame) -> None:
        """Feeds what happened, in any order; of an error nothing is taken.

        Args:
            marks: `timestamp`, `kind` (`impression`, an action, or `label_TASK` with the time of its impression:
                `label_delay_seconds` is added here) and what keys are made of: `item_id`, `user_id`, attributes of the
                item as they are in requests, 0 where one is missing. Other columns may be there.

        Raises:
            UserError: a column is missing, holds an impossible value or a kind that is not counted, or more marks than
                `max_pending` would wait.
        """
        marks_CN = self._inputs.marks(marks)
        with self._lock:
            late_N = marks_CN[0] < self._clock
            late = int(late_N.sum())
            waiting = len(self._pending) + len(late_N) - late
            if waiting > self.max_pending:
                raise UserError(
                    f"{waiting} marks would wait for the clock, more than max_pending ({self.max_pending}); call "
                    "advance(timestamp) as time goes on, or divide times by 1000 if they are milliseconds."
                )
            if late:
                self._late += late
                self._count(marks_CN[:, late_N])
            self._pending.put(marks_CN if not late else marks_CN[:, ~late_N])

    def advance(self, timestamp: Any) -> None:
        """Takes the clock forward, which the next request would do otherwise; earlier times change nothing.

        Raises:
            UserError: it is no time.
        """
        now = _moment(timestamp)
        with self._lock:
            self._advance(now)

    def at(
        self,
        timestamp: Any,
        item_ids: Sequence[Any] | npt.NDArray[Any] | pd.Series,
        user_id: Any = None,
        attributes: Mapping[str, Sequence[Any] | npt.NDArray[Any] | pd.Series] | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """The counters of a request, and takes the clock to its time.

        Args:
            timestamp: of the request.
            item_ids: of its N candidates.
            user_id: where keys are made of it.
            attributes: name -> one value a candidate, for those that keys are made of.

        Returns:
            Name -> (N) float32.

        Raises:
            UserError: something that keys are made of is missing, of another length, or an impossible value.
        """
        now, values = _moment(timestamp), {ITEM_ID: one_request(item_ids, self._inputs.columns[ITEM_ID])}
        count = len(values[ITEM_ID])
        if self.spec.counts_users():
            user = as_array([user_id])
            values[USER_ID] = convert(user, self._inputs.columns[USER_ID], np.arange(1)).repeat(count)
        for name in self.spec.attributes():
            if name not in (attributes or {}):
                raise UserError(f"the request lacks the attribute {name!r}; give one value a candidate.")
            values[name] = one_request((attributes or {})[name], self._inputs.columns[name])
            if len(values[name]) != count:
                raise UserError(f"{name} has {len(values[name])} values for {count} candidates; give one each.")
        with self._lock:
            return self._answer(now, values)

    def fill(self, requests: pd.DataFrame) -> pd.DataFrame:
        """Requests with their counters, one after the other in order of time, whatever their order in the frame.

        Args:
            requests: as `Scorer.score` takes them, the counters' columns missing.

        Returns:
            The frame and a column of lists for each counter.

        Raises:
            UserError: a column that keys are made of is missing or holds impossible values; then the clock stays.
        """
        require_frame(requests, "requests")
        attributes, columns = self.spec.attributes(), [REQUEST_TIMESTAMP, CANDIDATES]
        users = [USER_ID] if self.spec.counts_users() else []
        for name in (*columns, *users, *attributes):
            if name not in requests:
                raise UserError(f"the requests lack the column {name!r}; the counters are made of it.")
        rows = np.arange(len(requests))
        now = moments(requests[REQUEST_TIMESTAMP], REQUEST_TIMESTAMP, rows)
        lists = [self._inputs.column(ITEM_ID, CANDIDATES), *map(self._inputs.columns.__getitem__, attributes)]
        values = list_values(requests, lists)
        lengths = values.pop("candidate_lengths")
        values[ITEM_ID] = values.pop(CANDIDATES)
        for name in users:
            values[name] = convert(as_array(requests[name]), self._inputs.columns[name], rows).repeat(lengths)
        ends = lengths.cumsum()
        cells: list[dict[str, npt.NDArray[np.float32]]] = [{}] * len(requests)
        with self._lock:
            for row in now.argsort(kind="stable"):
                own = slice(ends[row] - lengths[row], ends[row])
                cells[row] = self._answer(int(now[row]), {name: array[own] for name, array in values.items()})
        lists_of = {name: [cell[name] for cell in cells] for name in self.names}
        return requests.assign(**{name: pd.Series(own, requests.index, "object") for name, own in lists_of.items()})

    def stats(self) -> dict[str, Any]:
        """What a host watches.

        Returns:
            `keys` (of each of `spec.of`, how many are kept), `bytes` and `bytes_per_key`, `pending` (marks that wait
            for the clock), and counts since the start: `late` (marks from before the clock), `evicted` (keys that
            left), and `behind` (requests from before the clock).
        """
        with self._lock:
            counters = self._counters.values()
            keys, size = sum(map(len, counters)), sum(own.nbytes for own in counters)
            return {
                "keys": {key: len(own) for key, own in self._counters.items()},
                "bytes": size + self._pending.nbytes,
                "bytes_per_key": size / max(1, keys),
                "pending": len(self._pending),
                "late": self._late,
                "evicted": sum(own.evicted for own in counters),
                "behind": self._behind,
            }

    def save(self, path: str | Path) -> None:
        """Writes everything to a file, whole or not at all; `load` goes on from it as if nothing had been stopped.

        Raises:
            UserError: another process is writing the same file, or there is a folder of that name.
        """
        with self._lock:
            told = {
                "spec": asdict(self.spec),
                "ids": self._inputs.ids,
                "limits": {"max_keys": self.max_keys, "max_pending": self.max_pending},
                "clock": self._clock,
                "late": self._late,
                "behind": self._behind,
                "evicted": {key: own.evicted for key, own in self._counters.items()},
            }
            arrays = {
                f"{key} {name}": array for key, own in self._counters.items() for name, array in own.state().items()
            }
            write_arrays(Path(path), told, {**arrays, "pending": self._pending.all()})

    @classmethod
    def load(cls, path: str | Path, model: str | Path | None = None) -> "LiveCounts":
        """What `save` wrote.

        Args:
            path: the file.
            model: a model folder, whose signature must ask for the same counters.

        Raises:
            UserError: the file is missing, damaged, of another version, or holds other counters than the model's.
        """
        told, arrays = read_arrays(Path(path))
        spec, ids = live_counts_from_json(told["spec"]), told["ids"]
        assert spec is not None
        if model is not None:
            _require_fit(Path(path), spec, ids, Path(model))
        counts = cls(spec, ids=ids, **told["limits"])
        counts._clock, counts._late, counts._behind = told["clock"], told["late"], told["behind"]
        counts._pending.put(arrays["pending"])
        for key, own in counts._counters.items():
            mine = {name.removeprefix(f"{key} "): array for name, array in arrays.items()}
            own.restore(mine, counts._clock)
            own.evicted = told["evicted"][key]
        return counts

    def _advance(self, now: int) -> None:
        if now > self._clock:
            self._clock = now
            for own in self._counters.values():
                own.counts.advance(now)
            due_CN = self._pending.take(now)
            if due_CN.shape[1]:
                self._count(due_CN)

    def _count(self, marks_CN: Int64s) -> None:
        """Marks from before the clock."""
        values = dict(zip(self._inputs.names, marks_CN, strict=True))
        times_N, kinds_N = marks_CN[0], marks_CN[1]
        for key, own in self._counters.items():
            keys_NV = self._inputs.keys(key, values)
            counted = has_attribute(key, keys_NV)
            own.add(keys_NV[counted], kinds_N[counted], times_N[counted])

    def _answer(self, now: int, values: Mapping[str, Int64s]) -> dict[str, npt.NDArray[np.float32]]:
        self._behind += now < self._clock
        self._advance(now)
        found = [own.read(self._inputs.keys(key, values)) for key, own in self._counters.items()]
        return dict(zip(self.names, np.ascontiguousarray(np.concatenate(found, axis=1).T), strict=True))


def _moment(timestamp: Any) -> int:
    return int(moments([timestamp], TIMESTAMP, np.arange(1))[0])


def _asked_for(model: Path) -> tuple[LiveCountsSpec, dict[str, IdType]]:
    """What a model's signature asks for, and how its log writes ids."""
    signature = Signature.read(model)
    if signature.live_counts is None:
        raise UserError(f"{model} asks for no live counts; train it on a dataset of `prepare --live-counts`.")
    written = {column.name: column.ids for column in signature.columns}
    ids = {ITEM_ID: written[CANDIDATES], USER_ID: written[USER_ID]}
    return signature.live_counts, {name: kind for name, kind in ids.items() if kind is not None}


def _require_fit(path: Path, spec: LiveCountsSpec, ids: Mapping[str, str], model: Path) -> None:
    """The rates may differ: they are the ranker's."""
    asked, written = _asked_for(model)
    for name in ("of", "kinds", "windows", "label_delay_seconds"):
        mine, theirs = getattr(spec, name), getattr(asked, name)
        if mine != theirs:
            raise UserError(
                f"{path} holds counters with {name} {mine}, but {model} asks for {theirs}; feed a new object from the "
                "log."
            )
    for name, kind in written.items():
        if ids[name] != kind:
            raise UserError(f"{path} holds {name} as {ids[name]}, but {model} takes {kind}; feed a new object.")
