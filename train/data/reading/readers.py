"""Files -> DuckDB views in which each row still knows its file and row number."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.failed import storage_failure
from pinfm.embeddings.files.parts import Part
from pinfm.train.data.reading.files import require_no_copies, table_parts
from pinfm.train.data.reading.scans.parquet import parquet_scan
from pinfm.train.data.reading.scans.scan import Break, Scan
from pinfm.train.data.reading.scans.text import text_scan
from pinfm.train.data.reading.sql import FILE, INTEGERS, POSITION, REALS, ROW, name, quoted
from pinfm.train.data.reading.text.layout import CSV, Layout
from pinfm.train.data.reading.text.records import line_of

# What DuckDB raises for a file that is torn or not what its name says.
UNREADABLE = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.NotSupportedError,
)

_ROWS_PER_FILE = 1 << 40  # position = file number * this + row, so that files keep their order


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is known of a table once its files were looked at.

    Args:
        path: the file or folder.
        columns: the names of all its columns, in the order of the first file.
        rows: how many rows its files have by themselves; what is read must be as many.
        breaks: text columns with fields that hold line breaks, which count as one row all the same.
        parts: its files.
        layout: of its text files.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int
    breaks: Mapping[str, Break] = field(default_factory=dict)
    parts: Sequence[Part] = ()
    layout: Layout = CSV

    def place(self, file: str, row: int) -> str:
        """A row as messages name it, with its line where blank lines or line breaks stand before it."""
        part = next(part for part in self.parts if str(part.path) == file)
        if part.is_parquet:
            return f"row {row}"
        line = line_of(part.path, self.layout.of_file(part.path), row)
        return f"row {row}" if line == row else f"row {row} (line {line})"

    @property
    def is_parquet(self) -> bool:
        """Whether its files are Parquet and no text."""
        return self.parts[0].is_parquet


def connect(work: Path, memory_gib: float) -> duckdb.DuckDBPyConnection:
    """Opens a database on disk in `work`, which spills there when it needs more than `memory_gib`."""
    connection = duckdb.connect(str(work / "work.duckdb"))
    connection.execute(f"SET memory_limit = '{round(memory_gib * 1024)}MiB'")
    connection.execute(f"SET temp_directory = {quoted(work / 'spill')}")
    # A time without a zone is UTC, whatever the machine's own is.
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def read_table(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    path: Path,
    work: Path,
    layout: Layout = CSV,
    wanted: Collection[str] | None = None,
) -> Table:
    """Creates a view over a file, or over all files of one kind in a folder and the folders in it.

    The view has the wanted columns that the files or their folders' names have (of text files and folders as VARCHAR,
    so that a bad value keeps its row) and `__file`, `__row` (from 1; a header line is row 1) and `__position`
    (ascending in file and row). What else the files hold, under whatever name, has no effect.

    Args:
        connection: the database.
        view: the name of the view.
        path: the file or folder.
        work: where a text file that DuckDB would misread is written anew.
        layout: of text files.
        wanted: the columns to read; None for all.

    Raises:
        UserError: when there is no such file, the kind is unknown, a file is there twice or cannot be read, names a
            wanted column twice, or lacks one that others of its folder have.
    """
    parts = table_parts(path)
    require_no_copies(parts)
    scans = []
    for number, part in enumerate(parts):
        if part.is_parquet:
            scans.append(parquet_scan(connection, part, wanted))
        else:
            scans.append(text_scan(connection, part, layout, work / f"{view}-{number}.csv", wanted))
    filled = [number for number, scan in enumerate(scans) if scan.rows]
    if not filled:
        raise UserError(f"{path} holds no rows; give a table that has some")
    columns = _common_columns([scans[number] for number in filled], wanted)
    try:
        as_text = _mixed(connection, [scans[number] for number in filled], columns)
        selects = [_select(scans[number], number, columns, as_text) for number in filled]
        connection.execute(f"CREATE OR REPLACE VIEW {name(view)} AS {' UNION ALL BY NAME '.join(selects)}")
    except duckdb.Error as error:
        raise unreadable(error, path) from error
    breaks: dict[str, Break] = {}
    for scan in scans:
        for column, broken in scan.breaks.items():
            breaks[column] = broken.after(breaks.get(column))
    return Table(
        path=path,
        columns=tuple(scans[filled[0]].names),
        rows=sum(scan.rows for scan in scans),
        breaks=breaks,
        parts=parts,
        layout=layout,
    )


def unreadable(error: duckdb.Error, path: object) -> UserError:
    """Returns one sentence for a file that DuckDB gave up on.

    Raises:
        duckdb.Error: the error itself, where it is DuckDB's own database that can't be written.
    """
    if storage_failure(error) is not None:
        raise error
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    # DuckDB's text about a torn Parquet file is cut off; about a value it is not.
    is_of_value = isinstance(error, (duckdb.ConversionException, duckdb.OutOfRangeException))
    if str(path).endswith(".parquet") and not is_of_value:
        return UserError(f"cannot read {path}: it is torn or damaged; write it anew")
    return UserError(f"cannot read {path}: DuckDB says {first.rstrip('.')!r}; mend the file")


def _common_columns(scans: Sequence[Scan], wanted: Collection[str] | None) -> list[str]:
    """The columns to read. A union by name would fill one that a file lacks with nulls, and say nothing."""
    found = [column for scan in scans for column in scan.names if wanted is None or column in wanted]
    columns = list(dict.fromkeys(found))
    for scan in scans:
        for column in columns:
            if column not in scan.names:
                raise UserError(
                    f"{scan.file} has no column {column}, which other files of its folder have; add it there"
                )
    return columns


def _mixed(connection: duckdb.DuckDBPyConnection, scans: Sequence[Scan], columns: Sequence[str]) -> set[str]:
    """Columns whose type differs from file to file: they are read as text, value by value, as in text files."""
    types: dict[str, set[str]] = {column: set() for column in columns}
    for scan in scans:
        for column in columns:
            types[column].add(scan.types.get(column, "VARCHAR"))
    families = (set(INTEGERS), set(REALS), {"VARCHAR", "ENUM"})
    mixed = set()
    for column, found in types.items():
        known = found - {'"NULL"'}
        if len(known) > 1 and not any(known <= family for family in families):
            mixed.add(column)
    return mixed


def _select(scan: Scan, number: int, columns: Sequence[str], as_text: Collection[str]) -> str:
    values = []
    for column in columns:
        sql = scan.columns[column]
        values.append(f"{f'CAST({sql} AS VARCHAR)' if column in as_text else sql} AS {name(column)}")
    return (
        f"SELECT {''.join(f'{value}, ' for value in values)}{quoted(scan.file)} AS {FILE}, {scan.row} AS {ROW}, "
        f"{number * _ROWS_PER_FILE} + {scan.row} AS {POSITION} FROM {scan.source}"
    )
