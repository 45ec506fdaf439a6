"""One file of a table, as SQL that reads it and as what is known of it."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.parts import Part
from pinfm.train.data.reading.sql import quoted


@dataclass(frozen=True)
class Break:
    """Fields of one column that hold a line break.

    Args:
        file: where the first one stands.
        line: the line that its row begins at.
        number: how many there are.
    """

    file: Path
    line: int
    number: int

    def after(self, earlier: "Break | None") -> "Break":
        """Returns the two together."""
        return self if earlier is None else replace(earlier, number=earlier.number + self.number)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """How one file is read.

    Args:
        file: the file, as messages call it.
        names: the columns that it has, those of its folders' names among them.
        columns: SQL of each column that is read, by name.
        types: their SQL types; VARCHAR for those that are not named.
        source: SQL of the relation that the columns are read from.
        row: SQL of a row's number, from 1.
        rows: how many rows the file has.
        breaks: by column, its fields that hold a line break.
    """

    file: Path
    names: Sequence[str]
    columns: Mapping[str, str]
    types: Mapping[str, str]
    source: str
    row: str
    rows: int
    breaks: Mapping[str, Break] = field(default_factory=dict)


def chosen(file: Path, names: Sequence[str], wanted: Collection[str] | None) -> list[int]:
    """The places of the wanted columns.

    Raises:
        UserError: when the file names one twice.
    """
    places = [place for place, column in enumerate(names) if wanted is None or column in wanted]
    for place in places:
        if names.index(names[place]) != place:
            raise UserError(f"{file} names the column {names[place]} twice; rename one of them")
    return places


def with_partition(
    connection: duckdb.DuckDBPyConnection, part: Part, scan: Scan, wanted: Collection[str] | None
) -> Scan:
    """Returns the scan with the columns that stand in the names of the file's folders.

    Raises:
        UserError: when the file has such a column too, and another value in it.
    """
    names, columns = list(scan.names), dict(scan.columns)
    for key, value in part.partition:
        sql = "NULL::VARCHAR" if value is None else quoted(value)
        if key not in names:
            names.append(key)
            if wanted is None or key in wanted:
                columns[key] = sql
        elif key in columns:
            other = connection.execute(
                f"SELECT CAST({columns[key]} AS VARCHAR) FROM {scan.source} WHERE {columns[key]} IS DISTINCT FROM "
                f"TRY_CAST({sql} AS {scan.types.get(key, 'VARCHAR')}) LIMIT 1"
            ).fetchone()
            if other is not None:
                raise UserError(
                    f"{part.path}: its column {key} holds {other[0]!r}, and its folder is called {key}={value}; "
                    "correct one of them"
                )
    return replace(scan, names=names, columns=columns)


def literal(file: Path) -> str:
    """The path as SQL, with the characters that DuckDB would read as a pattern escaped."""
    return quoted(re.sub(r"([*?\[])", r"[\1]", str(file)))
