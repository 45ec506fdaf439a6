"""Draws the candidates beside what was chosen, in DuckDB: one implementation for all sources.

What would give an answer away, whatever the model (docs/data.md has the reasons):

- an item of which nothing was known before, for none of the others is so new: the answer must have been drawable;
- an item that its user had, or one that only the others can be: nobody is asked for an item that the user had, and none
  is drawn;
- anything counted at the moment or after it, the answer's own event too: all is strictly before;
- its place: candidates are ordered by item id, and none stands twice.

    pool    a c b a d ...     by time; a request draws places from [lo, hi), so an item is as likely as it is frequent
            ^lo       ^hi     hi: the first row that is not strictly before the moment
"""

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.sql import POSITION
from pinfm.train.data.sampling.rule import CandidateRule

# Requests whose draws are held at once.
_REQUESTS_PER_PART = 500_000


def draw_candidates(
    connection: duckdb.DuckDBPyConnection, rule: CandidateRule, answers: str, events: str, births: str
) -> dict[str, int]:
    """Creates `drawn`: one row a candidate, with request_id, user_id, timestamp, item_id, answer (BOOLEAN), `of`.

    `of` is the `__position` of the request's answer, `__position` the order of the candidates.

    Args:
        connection: the database.
        rule: what is drawn.
        answers: SQL of a relation with user_id, item_id, timestamp and `__position`: what was chosen.
        events: SQL of one with all events of these users, `answers` among them: what a user had.
        births: SQL of one with item_id and born (Unix seconds), once for each item.

    Returns:
        How many answers make a request, and how many make none: their user had the item, the item was not there or
        could not have been drawn, or there was nothing to draw.

    Raises:
        UserError: no answer makes a request.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE had AS SELECT user_id, item_id, "
        f"min({{'time': timestamp, 'position': {POSITION}}}) AS since FROM {events} GROUP BY user_id, item_id"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE births AS SELECT item_id, born FROM {births}")
    (_uniform_pool if rule.kind == "uniform" else _answered_pool)(connection, rule, answers)
    requests = _ask(connection)
    _draw_others(connection, rule, requests)
    counts = _counts(connection)
    for table in ("had", "births", "pool", "asked", "others"):
        connection.execute(f"DROP TABLE {table}")
    if not any(counts.values()):
        raise UserError("no event is of an action that --tasks names, so there is no answer to draw candidates beside")
    if not counts["sampled_requests"]:
        whys = ", ".join(f"{name}: {count:,}" for name, count in counts.items() if count)
        raise UserError(
            f"sampled_candidates makes no request of {sum(counts.values()):,} answers ({whys}); draw from more, by "
            "another kind or a longer window, or name by --tasks the actions that begin what a user does with an item"
        )
    return counts


def _answered_pool(connection: duckdb.DuckDBPyConnection, rule: CandidateRule, answers: str) -> None:
    """Creates `pool`, the answers in the order of time, and `placed`, each with what it may draw from."""
    before = "count(*) OVER (ORDER BY timestamp RANGE BETWEEN UNBOUNDED PRECEDING AND {} PRECEDING)"
    lo = before.format(rule.window_seconds + 1) if rule.kind == "recent" else f"greatest(hi - {rule.session_events}, 0)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE pool AS SELECT row_number() OVER (ORDER BY timestamp, {POSITION}) - 1 AS place, "
        f"user_id, item_id, timestamp, {POSITION}, born FROM {answers} JOIN births USING (item_id)"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE placed AS SELECT *, {lo} AS lo FROM (SELECT *, {before.format(1)} AS hi, "
        "max(place) OVER (PARTITION BY item_id ORDER BY timestamp RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
        "AS seen FROM pool)"
    )


def _uniform_pool(connection: duckdb.DuckDBPyConnection, rule: CandidateRule, answers: str) -> None:
    """Creates `pool`, the items in the order of birth, and `placed`; an item that was there could have been drawn."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE pool AS SELECT row_number() OVER (ORDER BY born, item_id) - 1 AS place, item_id, "
        "born FROM births"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE placed AS SELECT a.*, coalesce(n.items, 0) AS hi, 0 AS lo, 0 AS seen FROM "
        f"(SELECT user_id, item_id, timestamp, {POSITION}, born FROM {answers} JOIN births USING (item_id)) AS a "
        "ASOF LEFT JOIN (SELECT born, max(place) + 1 AS items FROM pool GROUP BY born) AS n ON a.timestamp > n.born"
    )


def _ask(connection: duckdb.DuckDBPyConnection) -> int:
    """Creates `asked`: every answer, numbered in `request_id` where it may make a request; returns how many do."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE asked AS SELECT *, CASE WHEN why = 0 THEN row_number() OVER "
        f"(PARTITION BY why ORDER BY timestamp, {POSITION}) - 1 END AS request_id FROM (SELECT placed.*, "
        f"CASE WHEN since <> {{'time': timestamp, 'position': {POSITION}}} THEN 1 "
        "WHEN born >= timestamp OR seen IS NULL OR seen < lo THEN 2 ELSE 0 END AS why "
        "FROM placed JOIN had USING (user_id, item_id))"
    )
    connection.execute("DROP TABLE placed")
    return _scalar(connection, "SELECT count(request_id) FROM asked")


def _draw_others(connection: duckdb.DuckDBPyConnection, rule: CandidateRule, requests: int) -> None:
    """Creates `others`, and `drawn` of the requests that have some."""
    connection.execute("CREATE OR REPLACE TEMP TABLE others (request_id BIGINT, item_id BIGINT)")
    for first in range(0, requests, _REQUESTS_PER_PART):
        # The hash of a draw is its random number, so that neither threads nor their order matter.
        places = (
            f"SELECT request_id, user_id, timestamp, draw, lo + (hash({rule.seed}, request_id, draw) % "
            f"(hi - lo)::UBIGINT)::BIGINT AS place FROM asked, (SELECT range AS draw FROM range({rule.draws})) "
            f"WHERE request_id >= {first} AND request_id < {first + _REQUESTS_PER_PART}"
        )
        connection.execute(
            "INSERT INTO others SELECT request_id, item_id FROM (SELECT request_id, d.item_id, min(draw) AS draw FROM "
            f"(SELECT p.*, pool.item_id, born FROM ({places}) AS p JOIN pool USING (place)) AS d "
            "LEFT JOIN had ON had.user_id = d.user_id AND had.item_id = d.item_id "
            "WHERE born < timestamp AND (since IS NULL OR since.time > timestamp) GROUP BY request_id, d.item_id) "
            f"QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY draw) <= {rule.others}"
        )
    connection.execute(
        "CREATE OR REPLACE TABLE drawn AS SELECT *, row_number() OVER (ORDER BY request_id, item_id) - 1 AS "
        f'{POSITION} FROM (SELECT request_id, user_id, timestamp, c.item_id, c.answer, {POSITION} AS "of" FROM '
        "(SELECT request_id, item_id, false AS answer FROM others UNION ALL "
        "SELECT request_id, item_id, true FROM asked SEMI JOIN others USING (request_id)) AS c "
        "JOIN (SELECT * EXCLUDE (item_id) FROM asked) USING (request_id))"
    )


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    had, new = (_scalar(connection, f"SELECT count(*) FROM asked WHERE why = {why}") for why in (1, 2))
    requests = _scalar(connection, "SELECT count(*) FROM drawn WHERE answer")
    return {
        "sampled_requests": requests,
        "answers_had_before": had,
        "answers_not_drawable": new,
        "answers_alone": _scalar(connection, "SELECT count(request_id) FROM asked") - requests,
    }


def _scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return int(row[0])
