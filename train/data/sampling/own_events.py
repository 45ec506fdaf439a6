"""Own events -> the table `impressions`: a request of each answer, among drawn candidates."""

from collections.abc import Sequence

import duckdb

from pinfm.train.data.reading.sql import FILE, POSITION, ROW, name, quoted
from pinfm.train.data.sampling.draw import draw_candidates
from pinfm.train.data.sampling.rule import CandidateRule

# A label is what the user did with the answer within so long, as in a log of impressions that knows what came of each.
LABEL_SECONDS = 3600


def sample_impressions(
    connection: duckdb.DuckDBPyConnection, rule: CandidateRule, tasks: Sequence[str]
) -> dict[str, int]:
    """Creates `impressions` of the staged tables `events` and `items`; returns the counts of `draw_candidates`.

    Args:
        connection: the database.
        rule: what is drawn.
        tasks: the actions whose events are answers; each is a label.

    Raises:
        UserError: no event makes a request.
    """
    chosen = ", ".join(map(quoted, tasks))
    counts = draw_candidates(
        connection,
        rule,
        answers=f"(SELECT user_id, item_id, timestamp, {POSITION} FROM events WHERE action IN ({chosen}))",
        events="events",
        # An item is there from its creation on; where nobody knows that, from its first event on.
        births="(SELECT item_id, coalesce(created_at, first) AS born FROM items FULL JOIN "
        "(SELECT item_id, min(timestamp) AS first FROM events GROUP BY item_id) USING (item_id) "
        "WHERE created_at IS NOT NULL OR first IS NOT NULL)",
    )
    did = ", ".join(f"bool_or(e.action = {quoted(task)}) AS {name(task)}" for task in tasks)
    connection.execute(
        f"CREATE TEMP TABLE labels AS SELECT request_id, {did} FROM drawn AS d JOIN events AS e "
        "USING (user_id, item_id) "
        f"WHERE answer AND e.timestamp BETWEEN d.timestamp AND d.timestamp + {LABEL_SECONDS} GROUP BY request_id"
    )
    labels = ", ".join(f"answer AND l.{name(task)} AS {name(task)}" for task in tasks)
    connection.execute(
        f"CREATE TABLE impressions AS SELECT d.request_id, d.user_id, d.timestamp, e.surface, d.item_id, {labels}, "
        f"e.{FILE}, e.{ROW}, d.{POSITION} FROM drawn AS d JOIN labels AS l USING (request_id) "
        f'JOIN events AS e ON d."of" = e.{POSITION}'
    )
    connection.execute("DROP TABLE labels; DROP TABLE drawn")
    return counts


def sampling_notes(counts: dict[str, int]) -> list[str]:
    """What a reader of the dataset is told of answers that make no request."""
    whys = {
        "answers_had_before": "their users had done something with the item before",
        "answers_not_drawable": "nothing was known of the item before, or not in what the others are drawn from",
        "answers_alone": "nothing could be drawn beside them",
    }
    return [f"{counts[name]:,} answers make no request: {why}." for name, why in whys.items() if counts[name]]
