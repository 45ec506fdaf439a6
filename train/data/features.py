"""Vocabularies, splits and feature statistics, computed in DuckDB over staged tables."""

import dataclasses
from collections.abc import Sequence

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import Feature
from pinfm.train.data.info import SPLITS
from pinfm.train.data.reading.sql import name
from pinfm.train.data.tables import SplitRule

Splits = dict[str, tuple[int, int]]


def find_splits(connection: duckdb.DuckDBPyConnection, times: str, rule: SplitRule) -> Splits:
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
            f"the splits are out of order (first row {first}, validation_start {validation}, test_start {test}); "
            "give dates that ascend and leave rows to train on"
        )
    bounds = (first, validation, test, max(last + 1, test))
    return {split: (bounds[index], bounds[index + 1]) for index, split in enumerate(SPLITS)}


def find_surfaces(connection: duckdb.DuckDBPyConnection, tables: Sequence[str], before: int) -> tuple[str, ...]:
    """Returns the surfaces seen before a time: numbers in numeric order, then names in alphabetical order.

    A surface that first shows up later gets code 0, as it would in production.
    """
    seen = " UNION ".join(
        f"SELECT DISTINCT surface FROM {name(table)} WHERE timestamp < {before} AND surface IS NOT NULL"
        for table in tables
    )
    rows = connection.execute(
        f"SELECT surface FROM ({seen}) ORDER BY TRY_CAST(surface AS BIGINT) NULLS LAST, surface"
    ).fetchall()
    return tuple(str(row[0]) for row in rows)


def with_statistics(
    connection: duckdb.DuckDBPyConnection, features: Sequence[Feature], relation: str
) -> tuple[Feature, ...]:
    """Fills in mean, std and num_values.

    Args:
        connection: the database.
        features: features without statistics.
        relation: SQL of the impressions of the training split with a column for each feature.
    """
    return tuple(_with_statistics(connection, feature, relation) for feature in features)


def _with_statistics(connection: duckdb.DuckDBPyConnection, feature: Feature, relation: str) -> Feature:
    # One query for each feature bounds the memory that the distinct counts need.
    column = name(feature.name)
    if feature.kind == "categorical":
        row = connection.execute(f"SELECT count(DISTINCT {column}) FROM ({relation})").fetchone()
        assert row is not None
        return dataclasses.replace(feature, num_values=int(row[0]))
    squashed = f"sign({column}::DOUBLE) * ln(1 + abs({column}::DOUBLE))"
    row = connection.execute(f"SELECT avg({squashed}), stddev_pop({squashed}) FROM ({relation})").fetchone()
    assert row is not None
    # Threads add in any order: rounding hides the last digits, so that two runs write the same file.
    mean, std = (round(float(value or 0.0), 8) for value in row)
    return dataclasses.replace(feature, mean=mean, std=std if std > 0 else 1.0)
