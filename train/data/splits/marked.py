"""The split of each staged row, as `__split`: 0 for training, 1 for validation, 2 for test (the order of `SPLITS`).

`split_events` and `split_impressions` are views over `events` and `impressions` that have it; `starts`, the requests,
gets it as a column.
"""

from dataclasses import dataclass

import duckdb

from pinfm.train.data.reading.sql import name

Bounds = dict[str, tuple[int, int]]
SPLIT = "__split"


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What was held out.

    Args:
        bounds: (start, end) of each split in Unix seconds, the end excluded; empty where the split is not by time.
        last: so many of each user's newest rows are test; None where the split is by time.
        train_end: no row of training is of this time (Unix seconds) or later.
    """

    bounds: Bounds
    last: int | None
    train_end: int


def mark_by_time(connection: duckdb.DuckDBPyConnection, bounds: Bounds, has_requests: bool) -> Splits:
    """Marks each row by its own time, and a request by the one that it starts at.

    Args:
        connection: the database with the staged tables, and with `starts` where there are requests.
        bounds: see `Splits`.
        has_requests: whether there are.
    """
    validation, test = bounds["validation"][0], bounds["test"][0]
    split = f"CASE WHEN timestamp < {validation} THEN 0 WHEN timestamp < {test} THEN 1 ELSE 2 END::TINYINT"
    for table in ("events", "impressions") if has_requests else ("events",):
        connection.execute(f"CREATE VIEW {name('split_' + table)} AS SELECT *, {split} AS {SPLIT} FROM {table}")
    if has_requests:
        connection.execute(f"CREATE OR REPLACE TABLE starts AS SELECT *, {split} AS {SPLIT} FROM starts")
    return Splits(bounds=bounds, last=None, train_end=bounds["train"][1])
