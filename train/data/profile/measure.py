"""The figures of a profile, from the staged tables of a dataset that is being prepared."""

from typing import Any

import duckdb

from pinfm.model.item_ages import AgeThresholds
from pinfm.train.data.profile.profile import Profile
from pinfm.train.data.reading.sql import POSITION, name
from pinfm.train.data.splits.marked import SPLIT
from pinfm.train.data.tables import RawTables

# Gaps that so many of are equal come from a counter, not from a clock.
SAME_GAPS = 0.99
# Pairs of successive events that are looked at: one in so many users, where there are more.
MOST_GAPS = 1_000_000


def measure_profile(connection: duckdb.DuckDBPyConnection, tables: RawTables, ages: AgeThresholds) -> Profile:
    """Measures.

    Args:
        connection: the database with `all_items`, `split_events` and, where there are requests, `split_impressions`.
        tables: what the source said of the log.
        ages: of the dataset.
    """
    users, median, p99 = _row(
        connection,
        "SELECT count(*), median(n), quantile_disc(n, 0.99) FROM "
        f"(SELECT count(*) AS n FROM split_events WHERE {SPLIT} = 0 GROUP BY user_id)",
    )
    unseen, young = _arrivals(connection, tables.has_requests, ages)
    contents = (
        "SELECT count(DISTINCT content) FROM all_items WHERE list_sum(list_transform(content, lambda x: x * x)) > 0"
    )
    return Profile(
        tells_time=tables.has_times and not _counts_rows(connection),
        users=users,
        events_median=float(median or 0),
        events_p99=float(p99 or 0),
        positives=_positives(connection, tables) if tables.has_requests else {},
        contents=_row(connection, contents)[0] if tables.has_content else 0,
        unseen=unseen,
        young=young,
    )


def _positives(connection: duckdb.DuckDBPyConnection, tables: RawTables) -> dict[str, int]:
    counted = ", ".join(f"count(*) FILTER ({name(task)})" for task in tables.tasks)
    row = _row(connection, f"SELECT {counted} FROM split_impressions WHERE {SPLIT} = 0")
    return dict(zip(tables.tasks, row, strict=True))


def _arrivals(connection: duckdb.DuckDBPyConnection, has_requests: bool, ages: AgeThresholds) -> tuple[float, float]:
    """Shares of the validation split: of items that training has never had, and of young ones."""
    tables = ("events", "impressions") if has_requests else ("events",)
    known = " UNION ".join(f"SELECT DISTINCT item_id FROM split_{table} WHERE {SPLIT} = 0" for table in tables)
    unseen, young = _row(
        connection,
        "SELECT avg((k.item_id IS NULL)::INTEGER), "
        f"avg((t.timestamp - a.created_at < {ages.young})::INTEGER) FROM split_{tables[-1]} AS t "
        f"LEFT JOIN ({known}) AS k USING (item_id) JOIN all_items AS a USING (item_id) WHERE t.{SPLIT} = 1",
    )
    return float(unseen or 0), float(young or 0)


def _counts_rows(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether nearly all gaps between a user's successive events are the same, as those of numbered rows are."""
    one_in = 1 + _row(connection, "SELECT count(*) FROM events")[0] // MOST_GAPS
    gaps = (
        f"SELECT timestamp - lag(timestamp) OVER (PARTITION BY user_id ORDER BY timestamp, {POSITION}) AS gap "
        f"FROM split_events WHERE {SPLIT} = 0 AND hash(user_id) % {one_in} = 0"
    )
    most, all_gaps = _row(
        connection,
        f"SELECT max(n), sum(n) FROM (SELECT count(*) AS n FROM ({gaps}) WHERE gap IS NOT NULL GROUP BY gap)",
    )
    return bool(all_gaps) and most >= SAME_GAPS * all_gaps


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row
