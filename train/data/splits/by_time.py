"""Splits by time: everything from a moment on is held out."""

from datetime import UTC, datetime

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.train.data.info import SPLITS
from pinfm.train.data.splits.marked import Bounds
from pinfm.train.data.splits.rule import SplitRule


def find_splits(connection: duckdb.DuckDBPyConnection, times: str, rule: SplitRule) -> Bounds:
    """Returns (start, end) of each split in Unix seconds, the end excluded.

    Args:
        connection: the database.
        times: SQL of a table of `timestamp` and `weight` (impressions at that second).
        rule: where the splits begin.

    Raises:
        UserError: when the bounds are out of order, or leave the training split empty.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE moments AS SELECT timestamp, sum(weight) OVER () AS total, "
        "sum(weight) OVER (ORDER BY timestamp) - weight AS before "
        f"FROM (SELECT timestamp, sum(weight) AS weight FROM ({times}) GROUP BY timestamp)"
    )

    def moment(sql: str) -> int | None:
        row = connection.execute(f"SELECT {sql} FROM moments").fetchone()
        return None if row is None or row[0] is None else int(row[0])

    first, last = moment("min(timestamp)"), moment("max(timestamp)")
    assert first is not None
    assert last is not None

    def first_after(parts: int, whole: int, rows: str | int) -> int:
        """The first moment with such a share of `rows` before it; a data set of one moment is all training data."""
        found = moment(f"min(timestamp) FILTER ({whole} * before >= {parts} * ({rows}))")
        return last + 1 if found is None else found

    def rows_before(time: int) -> int:
        return moment(f"coalesce(min(before) FILTER (timestamp >= {time}), any_value(total))") or 0

    # A bound that is not given keeps the shares of 8 to 1 to 1 on its side of the other one.
    validation, test = rule.validation_start, rule.test_start
    if validation is None:
        validation = first_after(8, 10, "total") if test is None else first_after(8, 9, rows_before(test))
    if test is None:
        half_of_the_rest = (1, 2, f"{rows_before(validation)} + total")
        test = max(first_after(*((9, 10, "total") if rule.validation_start is None else half_of_the_rest)), validation)
    if not first < validation <= test:
        raise UserError(
            f"the splits are out of order (first row {_utc(first)}, validation_start {_utc(validation)}, test_start "
            f"{_utc(test)}, in UTC); give times that ascend and leave rows to train on"
        )
    bounds = (first, validation, test, max(last + 1, test))
    return {split: (bounds[index], bounds[index + 1]) for index, split in enumerate(SPLITS)}


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ").removesuffix("+00:00")
