"""Files -> DuckDB views in which each row still knows its file and row number."""

import re
from pathlib import Path

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.files import CSV, Layout, table_files
from pinfm.train.data.reading.sql import FILE, POSITION, ROW, name, quoted

# What DuckDB raises for a file that is torn or not what its name says.
UNREADABLE = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.NotSupportedError,
)

# A folder called `user_id=7` would otherwise become a column.
_NO_HIVE = "hive_partitioning = false"
_ROWS_PER_FILE = 1 << 40  # position = file number * this + row, so that files keep their order


def connect(work: Path, memory_gib: float) -> duckdb.DuckDBPyConnection:
    """Opens a database on disk in `work`, which spills there when it needs more than `memory_gib`."""
    connection = duckdb.connect(str(work / "work.duckdb"))
    connection.execute(f"SET memory_limit = '{round(memory_gib * 1024)}MiB'")
    connection.execute(f"SET temp_directory = {quoted(work / 'spill')}")
    return connection


def read_table(connection: duckdb.DuckDBPyConnection, view: str, path: Path, layout: Layout = CSV) -> None:
    """Creates a view over a file, or over all files of one kind in a folder.

    The view has the columns of the files (text files: every column as VARCHAR, so that a bad value keeps its row)
    and `__file`, `__row` (from 1; a header line is row 1) and `__position` (ascending in file and row).

    Raises:
        UserError: when there is no such file, the kind is unknown, the file cannot be read, or the files of a folder
            differ in their columns.
    """
    files = table_files(path)
    try:
        selects = [_select(connection, file, number, layout) for number, file in enumerate(files)]
        _require_same_columns(connection, files, selects)
        connection.execute(f"CREATE OR REPLACE VIEW {name(view)} AS {' UNION ALL BY NAME '.join(selects)}")
    except duckdb.Error as error:
        raise unreadable(error, path) from error


def unreadable(error: duckdb.Error, path: object) -> UserError:
    """Returns DuckDB's complaint about a file as one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return UserError(f"cannot read {path}: {' '.join(lines)[:240].rstrip('.')}; mend the file")


def _require_same_columns(connection: duckdb.DuckDBPyConnection, files: list[Path], selects: list[str]) -> None:
    """A union by name would fill a column that one file lacks with nulls, and say nothing."""
    if len(files) == 1:
        return
    columns = [{str(row[0]) for row in connection.execute(f"DESCRIBE {select}").fetchall()} for select in selects]
    everywhere = set.union(*columns)
    for file, own in zip(files, columns, strict=True):
        if missing := sorted(everywhere - own):
            raise UserError(f"{file} has no column {missing[0]}, which other files of its folder have; add it there")


def _select(connection: duckdb.DuckDBPyConnection, file: Path, number: int, layout: Layout) -> str:
    offset = number * _ROWS_PER_FILE
    if file.name.endswith(".parquet"):
        return (
            f"SELECT * EXCLUDE (file_row_number), {quoted(file)} AS {FILE}, file_row_number + 1 AS {ROW}, "
            f"{offset} + file_row_number AS {POSITION} FROM read_parquet({_literal(file)}, {_NO_HIVE}, "
            "file_row_number = true)"
        )
    header = layout.names is None
    names = _header(connection, file, layout) if layout.names is None else layout.names
    columns = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in names)
    # Without auto_detect: the sniffer, left alone, skips lines that it finds odd.
    settings = f"header = {str(header).lower()}, auto_detect = false, columns = {{{columns}}}"
    scan = f"read_csv({_dialect(file, layout)}, {settings})"
    # An empty window numbers rows in the order of the file, and streams.
    return (
        f"SELECT *, {quoted(file)} AS {FILE}, row_number() OVER () + {int(header)} AS {ROW}, "
        f"{offset} + row_number() OVER () AS {POSITION} FROM {scan}"
    )


def _literal(file: Path) -> str:
    """The path as SQL, with the characters that DuckDB would read as a pattern escaped."""
    return quoted(re.sub(r"([*?\[])", r"[\1]", str(file)))


def _dialect(file: Path, layout: Layout) -> str:
    delimiter = layout.delimiter or ("\t" if ".tsv" in file.name else ",")
    return (
        f"{_literal(file)}, {_NO_HIVE}, delim = {quoted(delimiter)}, quote = {quoted(layout.quote)}, "
        f"escape = {quoted(layout.quote)}, encoding = {quoted(layout.encoding)}, skip = 0"
    )


def _header(connection: duckdb.DuckDBPyConnection, file: Path, layout: Layout) -> list[str]:
    # Lenient, since only the names matter here; the scan itself is strict.
    lenient = "header = true, all_varchar = true, null_padding = true, ignore_errors = true"
    rows = connection.execute(f"DESCRIBE FROM read_csv({_dialect(file, layout)}, {lenient})").fetchall()
    return [str(row[0]) for row in rows]
