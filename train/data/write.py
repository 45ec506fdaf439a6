"""Staged tables -> the Parquet files of a prepared dataset."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet
from tqdm import tqdm

from pinfm.model.schema import SURFACE, Feature, InputSchema
from pinfm.train.data.info import SPLITS
from pinfm.train.data.reading.sql import POSITION, name, quoted
from pinfm.train.data.splits.marked import SPLIT, Splits

# Row groups that a reader can hold many of: events are narrow, requests carry lists.
_EVENTS = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
_REQUESTS_PER_GROUP = 16384


def bucket_file(bucket: int) -> str:
    """Returns the file name of a bucket."""
    return f"bucket-{bucket:05d}.parquet"


def gather_items(
    connection: duckdb.DuckDBPyConnection, schema: InputSchema, attributes: tuple[str, ...], splits: Splits
) -> None:
    """Creates the table `all_items`: the source's items and all that occur in events or impressions.

    Args:
        connection: the database with the staged tables `items`, `events` and, when there are tasks, `impressions`.
        schema: the vocabularies.
        attributes: categorical columns of `items`.
        splits: what was held out. Where that is not by time the items have `in_training` too.
    """
    positive = ", ".join(map(quoted, schema.positive_actions))
    told = f"SELECT item_id, min(timestamp) AS first, bool_or({SPLIT} = 0) AS trained"
    counted = f"count(*) FILTER (action IN ({positive}) AND {SPLIT} = 0) AS positives"
    seen = f"{told}, {counted} FROM split_events GROUP BY item_id"
    times = ["SELECT timestamp FROM events"]
    if schema.tasks:
        times.append("SELECT timestamp FROM impressions")
        seen += f" UNION ALL {told}, 0 FROM split_impressions GROUP BY item_id"
    by_place = splits.last is not None
    zeros = f"list_transform(range({schema.content_dim}), lambda x: 0::FLOAT)"
    columns = [
        # An item that never occurred, of unknown birth, had not appeared when the data ended.
        f"coalesce(i.created_at, s.first, (SELECT max(timestamp) FROM ({' UNION ALL '.join(times)})))::BIGINT "
        "AS created_at",
        *([f"coalesce(i.content, {zeros}) AS content"] if schema.content_dim else []),
        *(f"coalesce(i.{name(column)}, 0)::BIGINT AS {name(column)}" for column in attributes),
        "coalesce(s.positives, 0)::BIGINT AS event_count",
        # What was held out may be of any time, so an item's birth does not tell whether training may know of it.
        *(
            [f"coalesce(s.trained, false) OR coalesce(i.created_at < {splits.train_end}, false) AS in_training"]
            * by_place
        ),
    ]
    connection.execute(
        f"CREATE TABLE all_items AS SELECT item_id, {', '.join(columns)} FROM items AS i FULL JOIN "
        f"(SELECT item_id, min(first) AS first, bool_or(trained) AS trained, sum(positives) AS positives FROM ({seen}) "
        "GROUP BY item_id) AS s "
        "USING (item_id)"
    )


def joined_impressions(features: tuple[Feature, ...], attributes: tuple[str, ...], tasks: tuple[str, ...]) -> str:
    """Returns the SQL of the impressions with their request's start and split, the item's birth and its attributes."""
    own = [feature.name for feature in features if feature.name not in (*attributes, SURFACE)]
    columns = [
        *(f"m.{name(column)}" for column in ("request_id", "user_id", SURFACE, "item_id", POSITION, *tasks, *own)),
        "m.timestamp AS __shown_at",
        "r.timestamp",
        f"r.{SPLIT}",
        "a.created_at",
        *(f"a.{name(column)}" for column in attributes),
    ]
    return (
        f"SELECT {', '.join(columns)} FROM impressions AS m JOIN starts AS r USING (request_id) "
        "JOIN all_items AS a USING (item_id)"
    )


class BucketWriter:
    """Writes one user bucket after the other.

    Args:
        connection: the database with the staged tables and `all_items`.
        folder: where the files go.
        schema: vocabularies, tasks and features.
        splits: what was held out.
        num_buckets: into how many files users are spread.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        schema: InputSchema,
        splits: Splits,
        num_buckets: int,
    ):
        self.connection = connection
        self.folder = folder
        self.schema = schema
        self.splits = splits
        self.num_buckets = num_buckets

    def write(self, attributes: tuple[str, ...]) -> None:
        """Writes `items.parquet`, `events/` and `impressions/`.

        Args:
            attributes: the categorical columns of items among the features.
        """
        items = quoted(self.folder / "items.parquet")
        self.connection.execute(f"COPY (FROM all_items ORDER BY item_id) TO {items} {_EVENTS}")
        joined = joined_impressions(self.schema.features, attributes, self.schema.tasks)
        for part in ("events", *(f"impressions/{split}" for split in SPLITS)):
            (self.folder / part).mkdir(parents=True)
        # disable=None: no bar where stderr is no terminal.
        for bucket in tqdm(range(self.num_buckets), desc="buckets", unit="bucket", disable=None):
            self._write_events(bucket)
            self._write_requests(bucket, joined)

    def _write_events(self, bucket: int) -> None:
        path = quoted(self.folder / "events" / bucket_file(bucket))
        table, split = ("events", "") if self.splits.last is None else ("split_events", f", {SPLIT} AS split")
        self.connection.execute(
            f"COPY (SELECT user_id, timestamp, {_code('action', self.schema.actions)} AS action, "
            f"{_code('surface', self.schema.surfaces)} AS surface, item_id{split} FROM {table} "
            f"WHERE {self._in_bucket(bucket)} ORDER BY user_id, timestamp, {POSITION}) TO {path} {_EVENTS}"
        )

    def _write_requests(self, bucket: int, joined: str) -> None:
        if not self.schema.tasks:
            return
        packed = pack_requests(
            self.connection.sql(
                f"SELECT * REPLACE ({_code('surface', self.schema.surfaces)} AS surface) FROM ({joined}) "
                f"WHERE {self._in_bucket(bucket)} ORDER BY user_id, timestamp, request_id, __shown_at, {POSITION}"
            ).to_arrow_table(),
            self.schema,
        )
        for code, split in enumerate(SPLITS):
            inside = pc.equal(packed[SPLIT], code)
            path = self.folder / "impressions" / split / bucket_file(bucket)
            pyarrow.parquet.write_table(
                packed.filter(inside).drop_columns(SPLIT), path, compression="zstd", row_group_size=_REQUESTS_PER_GROUP
            )

    def _in_bucket(self, bucket: int) -> str:
        # DuckDB's hash mixes well; readers never compute it, so it may change between versions.
        return f"hash(user_id) % {self.num_buckets} = {bucket}"


def _code(column: str, vocabulary: tuple[str, ...]) -> str:
    """SQL of 0 for an unknown value, i + 1 for vocabulary[i]."""
    listed = f"[{', '.join(map(quoted, vocabulary))}]::VARCHAR[]"
    return f"coalesce(list_position({listed}, {column}), 0)::INTEGER"


def pack_requests(rows: pyarrow.Table, schema: InputSchema) -> pyarrow.Table:
    """Turns one row per impression into one row per request.

    Args:
        rows: impressions, those of a request together and in the order of its candidates.
        schema: which columns are labels, candidate features (lists) and request features (scalars).

    Returns:
        request_id, user_id, timestamp, surface, `__split`, then lists item_id, created_at, `label_<task>` and features.
    """
    request_N = rows["request_id"].to_numpy()
    first_R = np.flatnonzero(np.diff(request_N, prepend=request_N[:1] - 1))
    offsets = pyarrow.array(np.append(first_R, len(request_N)).astype(np.int32))
    firsts = rows.take(first_R)
    columns = {column: firsts[column] for column in ("request_id", "user_id", "timestamp", "surface", SPLIT)}
    lists = {"item_id": "item_id", "created_at": "created_at", **{f"label_{task}": task for task in schema.tasks}}
    lists |= {feature.name: feature.name for feature in schema.features if feature.scope == "candidate"}
    for label, column in lists.items():
        columns[label] = pyarrow.ListArray.from_arrays(offsets, rows[column].combine_chunks())
    scalars = (feature.name for feature in schema.features if feature.scope == "request")
    return pyarrow.table({**columns, **{column: firsts[column] for column in scalars}})
