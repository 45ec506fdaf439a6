"""Star ratings of films -> events, impressions and items: what MovieLens and MovieTweetings share."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from pinfm.model.schema import Feature
from pinfm.train.data.reading.sql import FILE, POSITION, ROW, name, quoted
from pinfm.train.data.sampling.draw import draw_candidates
from pinfm.train.data.sampling.rule import CandidateRule
from pinfm.train.data.sources.sessions import number_requests
from pinfm.train.data.splits.rule import SplitRule
from pinfm.train.data.tables import RawTables

ATTRIBUTES = ("genre", "year")
WINDOW_SECONDS = 30 * 86_400


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """How ratings become impressions.

    Args:
        like_from: a rating from here on is a `like`, a lower one a `rate`.
        request_gap_minutes: a pause this long between two ratings of a user starts a new request.
        sampled_candidates: above 0, each rating is a request of its own, among so many drawn items.
        splits: where validation and test begin.
        notes: sentences for the reader of the dataset.
        user_features: categorical columns of the table `users`, which is joined when there are some.
        has_tags: whether a table `tags` (user_id, item_id, timestamp) holds `tag` events.
    """

    like_from: float
    request_gap_minutes: int
    sampled_candidates: int
    splits: SplitRule
    notes: tuple[str, ...] = ()
    user_features: tuple[str, ...] = ()
    has_tags: bool = False

    def tables(self, connection: duckdb.DuckDBPyConnection) -> RawTables:
        """Makes the three tables of `ratings` (user_id, item_id, rating, timestamp) and `movies` (title, genres)."""
        liked = f"rating >= {self.like_from}"
        tags = ""
        if self.has_tags:
            # After the ratings of the same second: one tags what one has just rated.
            place = f"{FILE}, {ROW}, {1 << 40} + {POSITION}"
            tags = f" UNION ALL SELECT user_id, timestamp, 'tag', NULL, item_id, {place} FROM tags"
        connection.execute(
            f"CREATE VIEW rating_events AS SELECT user_id, timestamp, CASE WHEN {liked} THEN 'like' ELSE 'rate' END "
            f"AS action, NULL::VARCHAR AS surface, item_id, {FILE}, {ROW}, {POSITION} FROM ratings{tags}"
        )
        tasks, without_request = self._create_impressions(connection, liked)
        _movie_items(connection)
        tag = ("tag",) if self.has_tags else ()
        return RawTables(
            events="rating_events",
            items="movie_items",
            impressions="rating_impressions",
            actions=("rate", "like", *tag),
            positive_actions=("like", *tag),
            were_shown=False,
            tasks=tasks,
            features=tuple(Feature(name=n, kind="categorical", scope="request") for n in self.user_features),
            item_attributes=ATTRIBUTES,
            has_content=True,
            splits=self.splits,
            notes=self.notes,
            counts=_counts(connection, ("ratings", "movies", *(("tags",) if self.has_tags else ()))) | without_request,
        )

    def _create_impressions(
        self, connection: duckdb.DuckDBPyConnection, liked: str
    ) -> tuple[tuple[str, ...], dict[str, int]]:
        """Creates `rating_impressions`; its tasks, and how many ratings are in no request where some may be."""
        without_request = {}
        if self.sampled_candidates:
            without_request["ratings_without_request"] = _draw(connection, self.sampled_candidates)
            table, labels = "ratings_drawn", {"rate": "rated", "like": f"rated AND {liked}"}
        else:
            number_requests(connection, "ratings", self.request_gap_minutes * 60)
            table, labels = "ratings_requests", {"like": liked}
        columns = [f"{sql} AS {name(task)}" for task, sql in labels.items()]
        columns += [f"u.{column}" for column in self.user_features]
        columns += [f"r.{column} AS {column}" for column in (FILE, ROW, POSITION)]
        join = " LEFT JOIN users AS u USING (user_id)" if self.user_features else ""
        connection.execute(
            "CREATE VIEW rating_impressions AS SELECT request_id, user_id, r.timestamp, NULL::VARCHAR AS surface, "
            f"item_id, {', '.join(columns)} FROM {table} AS r{join}"
        )
        return tuple(labels), without_request


def _draw(connection: duckdb.DuckDBPyConnection, per_rating: int) -> int:
    """Creates `ratings_drawn`; returns how many ratings are in no request.

    Each is a request of its own, among items that others rated in the 30 days before.
    """
    counts = draw_candidates(
        connection,
        CandidateRule(kind="recent", others=per_rating, draws=per_rating, window_seconds=WINDOW_SECONDS),
        answers="ratings",
        events="ratings",
        births="(SELECT item_id, min(timestamp) AS born FROM ratings GROUP BY item_id)",
    )
    connection.execute(
        f'CREATE VIEW ratings_drawn AS SELECT d.* EXCLUDE (answer, "of"), answer AS rated, rating, r.{FILE}, r.{ROW} '
        f'FROM drawn AS d JOIN ratings AS r ON d."of" = r.{POSITION}'
    )
    return sum(counts.values()) - counts["sampled_requests"]


def _movie_items(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates `movie_items`: genres as a multi-hot vector over the sorted names, first genre, year of the title."""
    split = "list_filter(str_split(coalesce(genres, ''), '|'), lambda g: g NOT IN ('', '(no genres listed)'))"
    rows = connection.execute(f"SELECT DISTINCT unnest({split}) AS genre FROM movies ORDER BY genre").fetchall()
    genres = f"[{', '.join(quoted(row[0]) for row in rows)}]::VARCHAR[]"
    connection.execute(
        f"CREATE VIEW movie_items AS SELECT item_id, NULL::BIGINT AS created_at, "
        f"list_transform({genres}, lambda g: list_contains(listed, g)::FLOAT) AS content, "
        f"coalesce(list_position({genres}, listed[1]), 0)::BIGINT AS genre, "
        f"coalesce(TRY_CAST(regexp_extract(title, '\\(([0-9]{{4}})\\)\\s*$', 1) AS BIGINT), 0) AS year, "
        f"{FILE}, {ROW}, {POSITION} FROM (SELECT *, {split} AS listed FROM movies)"
    )


def _counts(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> dict[str, int]:
    counts = {}
    for table in tables:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        counts[table] = int(row[0])
    row = connection.execute("SELECT count(DISTINCT user_id), count(DISTINCT item_id) FROM ratings").fetchone()
    assert row is not None
    return counts | {"raters": int(row[0]), "rated_movies": int(row[1])}
