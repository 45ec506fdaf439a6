"""Vocabularies and feature statistics, computed in DuckDB over staged tables."""

import dataclasses
from collections.abc import Sequence

import duckdb

from pinfm.model.schema import SURFACE, Feature
from pinfm.train.data.reading.sql import name
from pinfm.train.data.splits.marked import SPLIT


def find_surfaces(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> tuple[str, ...]:
    """Returns the surfaces seen in training: numbers in numeric order, then names in alphabetical order.

    A surface that first shows up later gets code 0, as it would in production.
    """
    seen = " UNION ".join(
        f"SELECT DISTINCT surface FROM {name('split_' + table)} WHERE {SPLIT} = 0 AND surface IS NOT NULL"
        for table in tables
    )
    rows = connection.execute(
        f"SELECT surface FROM ({seen}) ORDER BY TRY_CAST(surface AS BIGINT) NULLS LAST, surface"
    ).fetchall()
    return tuple(str(row[0]) for row in rows)


def surface_feature(connection: duckdb.DuckDBPyConnection) -> tuple[Feature, ...]:
    """Returns the feature that says where a request is made; none where no impression of training does."""
    num_values = len(find_surfaces(connection, ["impressions"]))
    return (Feature(name=SURFACE, kind="categorical", scope="request", num_values=num_values),) if num_values else ()


def requests_on_several_surfaces(connection: duckdb.DuckDBPyConnection) -> int:
    """Returns how many requests of the staged impressions name more than one surface; a missing one is none."""
    row = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM impressions GROUP BY request_id HAVING min(surface) <> max(surface))"
    ).fetchone()
    assert row is not None
    return int(row[0])


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
