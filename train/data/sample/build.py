"""Builds the sample that ships in the package: `python -m pinfm.train.data.sample.build FOLDER`.

FOLDER holds the KuaiRand-Pure tables as .csv.gz. All rows are kept, with the columns that `pinfm prepare kuairand`
reads, in the narrowest types and as zstd Parquet.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from pinfm.train.data.reading.files import need_table
from pinfm.train.data.reading.readers import read_table
from pinfm.train.data.reading.sql import FILE, ROW, name, quoted
from pinfm.train.data.sources.kuairand import COLUMNS, STEMS

_SPACED = "TRY_CAST(str_split({}, ' ') AS SMALLINT[])"
# Types that hold every value of the files; columns that are not named stay strings.
_TYPES = {
    "user_id": "INTEGER",
    "video_id": "SMALLINT",
    "time_ms": "BIGINT",
    "duration_ms": "INTEGER",
    "tab": "TINYINT",
    "history_len": "SMALLINT",
    "last_time_ms": "BIGINT",
    "author_id": "INTEGER",
}


def build(folder: Path, out: Path) -> dict[str, int]:
    """Writes the four tables.

    Args:
        folder: the KuaiRand-Pure folder.
        out: where the Parquet files go.

    Returns:
        Size of each file in bytes.
    """
    sizes = {}
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as work:
        for table, stem in STEMS.items():
            read_table(connection, table, need_table(folder, stem, (".csv.gz", ".csv")), Path(work))
            columns = ", ".join(_cast(column.file_name, column.kind) for column in COLUMNS[table])
            path = out / f"{stem}.parquet"
            connection.execute(
                f"COPY (SELECT {columns} FROM {table} ORDER BY {FILE}, {ROW}) TO {quoted(path)} "
                "(FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 19, ROW_GROUP_SIZE 1000000)"
            )
            sizes[path.name] = path.stat().st_size
    return sizes


def _cast(column: str, kind: str) -> str:
    if kind == "ids":
        sql = _SPACED.format(name(column))
    elif kind == "flag":
        sql = f"CAST({name(column)} AS BOOLEAN)"
    elif kind == "text":
        return name(column)
    else:
        # Through DOUBLE, because some integer columns are written as 1.0.
        sql = f"CAST(CAST({name(column)} AS DOUBLE) AS {_TYPES.get(column, 'INTEGER')})"
    return f"{sql} AS {name(column)}"


def main() -> None:
    """Builds the sample in this folder and prints the sizes."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m pinfm.train.data.sample.build KUAIRAND_PURE_FOLDER")
    for file, size in build(Path(sys.argv[1]), Path(__file__).parent).items():
        print(f"{size:>9,} {file}")


if __name__ == "__main__":
    main()
