"""Parquet files as SQL: their columns by their own names, which DuckDB changes where they differ by case alone."""

from collections.abc import Collection
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.parts import Part
from pinfm.train.data.reading.scans.scan import Scan, chosen, literal, with_partition
from pinfm.train.data.reading.sql import name

_ROW_NUMBER = "file_row_number"


def parquet_scan(connection: duckdb.DuckDBPyConnection, part: Part, wanted: Collection[str] | None) -> Scan:
    """Returns how a Parquet file is read.

    Raises:
        UserError: when it is no Parquet file, names a wanted column twice, or has a column that differs from its
            folder's name.
    """
    names, rows = _head(part.path)
    # A folder called `user_id=7` is read from the path, as text, so that it means the same over text files.
    source = f"read_parquet({literal(part.path)}, hive_partitioning = false)"
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    places = chosen(part.path, names, wanted)
    columns = {names[place]: name(str(described[place][0])) for place in places}
    types = {names[place]: str(described[place][1]) for place in places}
    # Where the file has a column of that name, it hides DuckDB's own.
    own = _ROW_NUMBER in {column.lower() for column in names}
    scan = Scan(
        file=part.path,
        names=names,
        columns=columns,
        types=types,
        source=source,
        row="row_number() OVER ()" if own else f"({_ROW_NUMBER} + 1)",
        rows=rows,
    )
    return with_partition(connection, part, scan, wanted)


def _head(file: Path) -> tuple[list[str], int]:
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            return list(opened.schema_arrow.names), int(opened.metadata.num_rows)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(
            f"cannot read {file}: it is no whole Parquet file (torn, or of another kind); write it anew"
        ) from error
