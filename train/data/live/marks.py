"""What is counted, in SQL: a mark for each impression, event or label, with the key that it counts for."""

from collections.abc import Iterator
from typing import NamedTuple

import duckdb
import numpy as np

from pinfm.model.live_counts import IMPRESSION, ITEM, LABEL, USER, LiveCountsSpec
from pinfm.train.data.live.counts import Marks
from pinfm.train.data.ragged import scalar_column
from pinfm.train.data.reading.sql import name, quoted
from pinfm.train.data.splits.marked import SPLIT, Splits

# Marks that are held in memory at once, some 50 bytes each, beside what is asked of them.
_MARKS_PER_PART = 4_000_000


def key_columns(key: str) -> tuple[str, ...]:
    """The columns that a key of `LiveCountsSpec.of` is made of: `item_id`, an attribute, `user_id` and an attribute."""
    if key == ITEM:
        return ("item_id",)
    return ("user_id", key.removeprefix(USER)) if key.startswith(USER) else (key,)


class Part(NamedTuple):
    """The marks of a range of keys.

    Args:
        first: least value of the key's first column.
        last: greatest value of it.
        marks: of the keys between.
    """

    first: int
    last: int
    marks: Marks


class MarkReader:
    """The marks of one key, a range of keys at a time.

    Args:
        connection: the database with `events`, `impressions` and `all_items`.
        spec: what is counted.
        key: which of its keys.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, spec: LiveCountsSpec, key: str) -> None:
        self._connection, self._spec = connection, spec
        self.columns = key_columns(key)
        # Attributes may be called like columns of ours.
        tables = ["marks" if column in ("item_id", "user_id") else "all_items" for column in self.columns]
        values = [f"{table}.{name(column)}" for table, column in zip(tables, self.columns, strict=True)]
        keys = [f"{value} AS key{place}" for place, value in enumerate(values)]
        known = f"JOIN all_items USING (item_id) WHERE {values[-1]} <> 0" if "all_items" in tables else ""
        self._marks = (
            f"SELECT {', '.join(keys)}, marks.timestamp, marks.kind FROM ({_all_marks(spec)}) AS marks {known}"
        )
        self._firsts = [-(2**63), *self._bounds()]

    @property
    def num_parts(self) -> int:
        """How many ranges of keys there are."""
        return len(self._firsts)

    def parts(self) -> Iterator[Part]:
        """Yields the marks of each range; the ranges cover all keys."""
        keys = [f"key{place}" for place in range(len(self.columns))]
        lasts = [*(first - 1 for first in self._firsts[1:]), 2**63 - 1]
        for first, last in zip(self._firsts, lasts, strict=True):
            rows = self._connection.sql(
                f"SELECT * FROM ({self._marks}) WHERE key0 BETWEEN {first} AND {last} "
                f"ORDER BY {', '.join(keys)}, timestamp"
            ).to_arrow_table()
            of_keys = [scalar_column(rows, key).astype(np.int64, copy=False) for key in keys]
            times, kinds = (
                scalar_column(rows, column).astype(np.int64, copy=False) for column in ("timestamp", "kind")
            )
            yield Part(first, last, Marks(of_keys, times, kinds, len(self._spec.kinds)))

    def _bounds(self) -> list[int]:
        """Where ranges begin, so that each but those of one huge key holds no more marks than memory should."""
        found = self._connection.execute(
            "SELECT min(key0) FROM (SELECT key0, (sum(marks) OVER (ORDER BY key0) - 1) // "
            f"{_MARKS_PER_PART} AS part FROM (SELECT key0, count(*) AS marks FROM ({self._marks}) GROUP BY key0)) "
            "GROUP BY part ORDER BY part"
        ).fetchall()
        return [int(row[0]) for row in found[1:]]


def _all_marks(spec: LiveCountsSpec, events: str = "events", impressions: str = "impressions") -> str:
    """SQL of user_id, item_id, timestamp and kind, the place in `spec.kinds`."""
    actions = [kind for kind in spec.kinds if kind != IMPRESSION and not kind.startswith(LABEL)]
    of_action = " ".join(f"WHEN {quoted(action)} THEN {spec.kinds.index(action)}" for action in actions)
    parts = []
    if actions:
        parts.append(
            f"SELECT user_id, item_id, timestamp, (CASE action {of_action} END)::TINYINT AS kind FROM {events} "
            f"WHERE action IN ({', '.join(map(quoted, actions))})"
        )
    for place, kind in enumerate(spec.kinds):
        columns = f"SELECT user_id, item_id, timestamp + %d AS timestamp, {place}::TINYINT AS kind FROM {impressions}"
        if kind == IMPRESSION:
            parts.append(columns % 0)
        elif kind.startswith(LABEL):
            parts.append(f"{columns % spec.label_delay_seconds} WHERE {name(kind.removeprefix(LABEL))}")
    return " UNION ALL ".join(parts)


def overall_rates(connection: duckdb.DuckDBPyConnection, spec: LiveCountsSpec, splits: Splits) -> dict[str, float]:
    """The marks of each kind for each impression of training; empty where impressions are not counted."""
    if IMPRESSION not in spec.kinds:
        return {}
    tables = [f"(SELECT * FROM split_{table} WHERE {SPLIT} = 0)" for table in ("events", "impressions")]
    training = f"FROM ({_all_marks(spec, *tables)}) WHERE timestamp < {splits.train_end}"
    counted = dict(connection.execute(f"SELECT kind, count(*) {training} GROUP BY kind").fetchall())
    impressions = counted.get(spec.kinds.index(IMPRESSION), 0)
    others = (kind for kind in spec.kinds if kind != IMPRESSION)
    return {kind: counted.get(spec.kinds.index(kind), 0) / max(impressions, 1) for kind in others}
