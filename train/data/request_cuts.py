"""Requests that last too long: a session id for a request id would put labels of test days into training."""

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.sql import POSITION

_LONGEST_SECONDS = 86400


def split_at_pauses(connection: duckdb.DuckDBPyConnection, pause_seconds: int) -> int:
    """Splits the requests of the table `impressions` where nothing was shown for so long.

    Returns:
        How many requests were added.
    """
    _number_parts(
        connection,
        f"SELECT request_id FROM impressions GROUP BY 1 HAVING max(timestamp) - min(timestamp) >= {pause_seconds}",
        f"timestamp - lag(timestamp) OVER within >= {pause_seconds}",
    )
    return _renumber(connection)


def cut_at(connection: duckdb.DuckDBPyConnection, bounds: Sequence[int]) -> int:
    """Cuts the requests of `impressions` that reach over the start of a split; each part is a request.

    Args:
        connection: the database, with `starts` too.
        bounds: Unix seconds of the starts.

    Returns:
        How many requests were added.
    """
    reaches = " OR ".join(f"(timestamp < {bound} AND last >= {bound})" for bound in bounds)
    passed = " + ".join(f"(timestamp >= {bound})::INTEGER" for bound in bounds)
    _number_parts(
        connection,
        f"SELECT request_id FROM starts WHERE {reaches}",
        f"{passed} > lag({passed}) OVER within",
    )
    return _renumber(connection)


def write_starts(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates the table `starts`: user, first and last time and first position of each request, and its impressions."""
    connection.execute(
        "CREATE OR REPLACE TABLE starts AS SELECT request_id, min(user_id) AS user_id, min(timestamp) AS timestamp, "
        f"max(timestamp) AS last, min({POSITION}) AS {POSITION}, count(*) AS weight FROM impressions "
        "GROUP BY request_id"
    )


def require_short(connection: duckdb.DuckDBPyConnection, request_id: str) -> None:
    """Refuses requests of more than a day.

    Args:
        connection: the database, with `impressions` and `starts`.
        request_id: the column of `impressions` that holds the id as the user writes it.

    Raises:
        UserError: there are such.
    """
    row = connection.execute(
        f"SELECT count(*), arg_max((request_id, timestamp, last), last - timestamp) FROM starts "
        f"WHERE last - timestamp > {_LONGEST_SECONDS}"
    ).fetchone()
    assert row is not None
    if not row[0]:
        return
    count, (request, first, last) = row
    named = connection.execute(f"SELECT {request_id} FROM impressions WHERE request_id = {request} LIMIT 1").fetchone()
    assert named is not None
    start, end = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M") for time in (first, last))
    raise UserError(
        f"impressions: the request {named[0]} lasts from {start} to {end} ({count:,} last over a day): training would "
        "see labels of later days; if it is a session, split it with --request-gap-minutes 30"
    )


def _number_parts(connection: duckdb.DuckDBPyConnection, requests: str, opens: str) -> None:
    """Creates `parts`: the rows of some requests that are not in the first part of theirs, with the number of the part.

    Args:
        connection: the database.
        requests: SQL of the ids of the requests.
        opens: SQL of whether a row opens a new part; its window `within` is the request in the order of time.
    """
    within = f"WINDOW within AS (PARTITION BY request_id ORDER BY timestamp, {POSITION})"
    marked = (
        f"SELECT {POSITION}, request_id, timestamp, coalesce({opens}, false)::INTEGER AS opens FROM impressions "
        f"WHERE request_id IN ({requests}) {within}"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE parts AS SELECT * FROM (SELECT {POSITION}, request_id, sum(opens) OVER within "
        f"AS part FROM ({marked}) {within}) WHERE part > 0"
    )


def _renumber(connection: duckdb.DuckDBPyConnection) -> int:
    """Gives each of the `parts` an id that no request has: the smallest ones that are free."""
    row = connection.execute("SELECT count(*) FROM (SELECT DISTINCT request_id, part FROM parts)").fetchone()
    assert row is not None
    added = int(row[0])
    if added:
        # Of so many numbers at least `added` are free.
        numbers = f"SELECT range AS id FROM range((SELECT count(DISTINCT request_id) FROM impressions) + {added})"
        free = f"SELECT id FROM ({numbers}) ANTI JOIN (SELECT request_id AS id FROM impressions) USING (id)"
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE renumbered AS SELECT request_id, part, id FROM "
            "(SELECT *, row_number() OVER (ORDER BY request_id, part) AS place FROM "
            "(SELECT DISTINCT request_id, part FROM parts)) "
            f"JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM ({free})) USING (place)"
        )
        connection.execute(
            f"UPDATE impressions SET request_id = moved.id FROM (SELECT parts.{POSITION}, id FROM parts JOIN "
            f"renumbered USING (request_id, part)) AS moved WHERE impressions.{POSITION} = moved.{POSITION}"
        )
    return added
