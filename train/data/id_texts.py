"""The texts of text ids: which int64 stands for which, kept in the dataset so that a report can give them back."""

from pathlib import Path

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import IdType
from pinfm.train.data.reading.columns import TEXT_OF
from pinfm.train.data.reading.sql import name, quoted
from pinfm.train.data.spellings import ID_KINDS
from pinfm.train.data.tables import IDS, RawTables

FOLDER = "ids"
_ID_TYPES: dict[str, IdType] = {kind: id_type for id_type, kind in ID_KINDS.items() if id_type != "int64"}


def id_types(tables: RawTables) -> dict[str, IdType]:
    """How the log writes its ids, where not as int64."""
    return {column: _ID_TYPES[tables.kinds[column]] for column in IDS if tables.kinds.get(column) in _ID_TYPES}


def write_id_texts(connection: duckdb.DuckDBPyConnection, tables: RawTables, folder: Path) -> None:
    """Writes `ids/COLUMN.parquet` for every text id: `id` and `text`, ascending in id.

    Args:
        connection: the database with the staged tables.
        tables: what the source gave.
        folder: of the dataset.

    Raises:
        UserError: two texts have one hash.
    """
    holders = {"user_id": ("events", "impressions"), "item_id": ("events", "impressions", "items")}
    for column in (column for column, kind in id_types(tables).items() if kind == "text"):
        staged = [table for table in holders.get(column, ("impressions",)) if getattr(tables, table) is not None]
        text = name(TEXT_OF + column)
        table = name(f"texts_of_{column}")
        parts = " UNION ".join(f"SELECT DISTINCT {column} AS id, {text} AS text FROM {holder}" for holder in staged)
        connection.execute(f"CREATE TABLE {table} AS {parts}")
        twins = connection.execute(
            f"SELECT min(text), max(text), count(*) - 1 FROM {table} GROUP BY id HAVING count(*) > 1 ORDER BY 1"
        ).fetchall()
        if twins:
            first, second, _ = twins[0]
            raise UserError(
                f"{column}: {first!r} and {second!r} have the same 64-bit hash ({sum(twin[2] for twin in twins)} such "
                f"of {_count(connection, table)} texts); rename one of them"
            )
        (folder / FOLDER).mkdir(exist_ok=True)
        path = quoted(folder / FOLDER / f"{column}.parquet")
        connection.execute(f"COPY (FROM {table} ORDER BY id) TO {path} (FORMAT parquet, COMPRESSION zstd)")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])
