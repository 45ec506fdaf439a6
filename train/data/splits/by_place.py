"""Splits by place: each user's newest rows are held out, whenever they are.

    one user's events, positive ones in capitals       A b C D e F g       last 1
    test begins at the newest positive event                     ^
    validation begins at the one before                    ^
    split                                              0 0 0 1 1 2 2

Places are in the order of time, and of the log at equal times, which no timestamp tells. Where there are requests the
newest of them are held out by their own order, and what happened from their start on is of their split or a later one:
it is their feedback, which training must not see.
"""

from collections.abc import Sequence

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.sql import POSITION, quoted
from pinfm.train.data.splits.marked import SPLIT, Splits


def mark_by_place(
    connection: duckdb.DuckDBPyConnection, last: int, positive_actions: Sequence[str], has_requests: bool
) -> tuple[Splits, dict[str, int]]:
    """Marks each user's newest rows.

    Args:
        connection: the database with the staged tables, and with `starts` where there are requests.
        last: so many are test, and as many before them validation; a user with fewer than one more is all training.
        positive_actions: those of the events that count.
        has_requests: whether there are.

    Returns:
        What was held out, and how many users are all training: `users_with_few_events`, `users_with_few_requests`.

    Raises:
        UserError: nobody has enough rows.
    """
    positive = f"events WHERE action IN ({', '.join(map(quoted, positive_actions))})"
    tables = {"events": ("events", positive)}
    if has_requests:
        tables["requests"] = ("starts", "starts")
    few = {}
    for rows, (table, counted) in tables.items():
        _cut(connection, f"{rows}_cuts", counted, last)
        few[f"users_with_few_{rows}"] = _without_cut(connection, table, f"{rows}_cuts")
        if (rows == "requests") == has_requests and not _any(connection, f"{rows}_cuts"):
            what = "requests" if has_requests else "positive events"
            raise UserError(
                f"no user has {2 * last + 1} {what}: {last} to test, {last} to validate and one to learn from; hold "
                "out fewer by --split-last, or split by time"
            )
    if has_requests:
        _mark_requests(connection)
    train_end = _mark_events(connection, has_requests)
    return Splits(bounds={}, last=last, train_end=train_end), few


def few_notes(few: dict[str, int], last: int) -> list[str]:
    """What a reader of the dataset is told of users that are all training."""
    return [
        f"{users:,} user{'s have' if users != 1 else ' has'} fewer than {2 * last + 1} "
        f"{'requests' if counted.endswith('requests') else 'positive events'}, which are all training."
        for counted, users in few.items()
        if users
    ]


def _cut(connection: duckdb.DuckDBPyConnection, cuts: str, rows: str, last: int) -> None:
    """Creates a table of users with enough rows: the places (time, position) where their two held-out splits begin."""
    connection.execute(
        f"CREATE TABLE {cuts} AS SELECT user_id, newest[{2 * last}] AS validation, newest[{last}] AS test FROM "
        f"(SELECT user_id, max({{'time': timestamp, 'position': {POSITION}}}, {2 * last}) AS newest FROM {rows} "
        f"GROUP BY user_id HAVING count(*) > {2 * last})"
    )


def _mark_requests(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"CREATE OR REPLACE TABLE starts AS SELECT starts.*, {_split('requests_cuts')} FROM starts "
        "LEFT JOIN requests_cuts USING (user_id)"
    )
    connection.execute(
        f"CREATE VIEW split_impressions AS SELECT impressions.*, {SPLIT} FROM impressions JOIN "
        f"(SELECT request_id, {SPLIT} FROM starts) USING (request_id)"
    )


def _mark_events(connection: duckdb.DuckDBPyConnection, has_requests: bool) -> int:
    """Creates `split_events`; returns the end of training."""
    if has_requests:
        # Whatever of a user is not before a held-out request may be its feedback; no event stands before position -1.
        begins = ", ".join(
            f"least(e.{split}, CASE WHEN r.{split} IS NOT NULL THEN "
            f"{{'time': r.{split}.time, 'position': -1::BIGINT}} END) AS {split}"
            for split in ("validation", "test")
        )
        connection.execute(
            f"CREATE OR REPLACE TABLE events_cuts AS SELECT user_id, {begins} FROM events_cuts AS e "
            "FULL JOIN requests_cuts AS r USING (user_id)"
        )
    connection.execute(
        f"CREATE VIEW split_events AS SELECT events.*, {_split('events_cuts')} FROM events "
        "LEFT JOIN events_cuts USING (user_id)"
    )
    tables = ("split_events", "split_impressions") if has_requests else ("split_events",)
    training = " UNION ALL ".join(f"SELECT timestamp FROM {table} WHERE {SPLIT} = 0" for table in tables)
    row = connection.execute(f"SELECT max(timestamp) + 1 FROM ({training})").fetchone()
    assert row is not None
    return int(row[0])


def _split(cuts: str) -> str:
    """SQL of the split of a row beside its user's cuts, which are NULL where all of the user is training."""
    place = f"{{'time': timestamp, 'position': {POSITION}}}"
    held_out = f"WHEN {place} >= {cuts}.test THEN 2 WHEN {place} >= {cuts}.validation THEN 1"
    return f"CASE {held_out} ELSE 0 END::TINYINT AS {SPLIT}"


def _without_cut(connection: duckdb.DuckDBPyConnection, table: str, cuts: str) -> int:
    row = connection.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT user_id FROM {table}) ANTI JOIN {cuts} USING (user_id)"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _any(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
