"""Files -> DuckDB views in which each row still knows its file and row number."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pinfm.embeddings.errors import UserError

# Columns that `read_table` adds; the underscores keep them apart from the user's own.
FILE, ROW, POSITION = "__file", "__row", "__position"

# What DuckDB raises for a file that is torn or not what its name says.
UNREADABLE = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.IOException,
    duckdb.SerializationException,
    duckdb.NotSupportedError,
)

_SUFFIXES = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".dat", ".dat.gz")
# A folder called `user_id=7` would otherwise become a column.
_NO_HIVE = "hive_partitioning = false"
_ROWS_PER_FILE = 1 << 40  # position = file number * this + row, so that files keep their order


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the text files of a table are laid out.

    Args:
        delimiter: between two fields; None chooses a tab for `.tsv` and a comma otherwise.
        names: column names of a file without a header line; None reads them from the header.
        encoding: `utf-8` or `latin-1`.
        quote: the quoting character; empty when quotes are ordinary text.
    """

    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    quote: str = '"'


CSV = Layout()


def connect(work: Path, memory_gib: float) -> duckdb.DuckDBPyConnection:
    """Opens a database on disk in `work`, which spills there when it needs more than `memory_gib`."""
    connection = duckdb.connect(str(work / "work.duckdb"))
    connection.execute(f"SET memory_limit = '{round(memory_gib * 1024)}MiB'")
    connection.execute(f"SET temp_directory = {quoted(work / 'spill')}")
    return connection


def quoted(text: object) -> str:
    """Returns the text as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def name(identifier: str) -> str:
    """Returns the identifier quoted for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def find_table(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """Returns the first existing `folder/stem + suffix`, or None."""
    return next((path for path in (folder / f"{stem}{suffix}" for suffix in suffixes) if path.is_file()), None)


def need_table(folder: Path, stem: str, suffixes: Sequence[str]) -> Path:
    """Like `find_table`.

    Raises:
        UserError: when none of the files exists.
    """
    path = find_table(folder, stem, suffixes)
    if path is None:
        wanted = " or ".join(f"{stem}{suffix}" for suffix in suffixes)
        raise UserError(f"{folder} holds no {wanted}; give the folder of the downloaded data set")
    return path


def read_table(connection: duckdb.DuckDBPyConnection, view: str, path: Path, layout: Layout = CSV) -> None:
    """Creates a view over a file, or over all files of one kind in a folder.

    The view has the columns of the files (text files: every column as VARCHAR, so that a bad value keeps its row)
    and `__file`, `__row` (from 1; a header line is row 1) and `__position` (ascending in file and row).

    Raises:
        UserError: when there is no such file, the kind is unknown, the file cannot be read, or the files of a folder
            differ in their columns.
    """
    files = _files(path)
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


def _files(path: Path) -> list[Path]:
    if path.is_file():
        if not path.name.endswith(_SUFFIXES):
            raise UserError(f"{path} is of no kind that can be read; give a file ending in {', '.join(_SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a Parquet or CSV file, or a folder of them")
    # Names that begin so are markers of other tools: _SUCCESS, .part-0.crc.
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
    files = [entry for entry in entries if entry.is_file() and entry.name.endswith(_SUFFIXES)]
    if files and len(files) < len(entries):
        other = next(entry for entry in entries if entry not in files)
        raise UserError(f"{other} is no file ending in {', '.join(_SUFFIXES)}; move it out of the table's folder")
    if not files:
        raise UserError(f"{path} holds no file ending in {', '.join(_SUFFIXES)}; give the folder of the table's files")
    return files


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
