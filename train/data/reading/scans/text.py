"""Text files as SQL: DuckDB reads those that are plain, and a plain copy of the others."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.parts import Part
from pinfm.train.data.reading.scans.scan import Break, Scan, chosen, literal, with_partition
from pinfm.train.data.reading.sql import quoted
from pinfm.train.data.reading.text.layout import Layout
from pinfm.train.data.reading.text.proof import Counted, Counter
from pinfm.train.data.reading.text.records import records

# A longer line needs larger buffers than DuckDB's own.
_LONG_LINE = 1 << 20
_COPY = Layout(delimiter=",", quote='"')


def text_scan(
    connection: duckdb.DuckDBPyConnection, part: Part, layout: Layout, copy: Path, wanted: Collection[str] | None
) -> Scan:
    """Returns how a text file is read: every column as VARCHAR.

    Args:
        connection: the database.
        part: the file.
        layout: the layout of the table's files.
        copy: where to write the rows anew if DuckDB would misread the file: with backslash escapes, another encoding,
            line ends of several kinds, lines before the header.
        wanted: the columns to read; None for all.

    Raises:
        UserError: when a line is no row; see `proof.Counter`.
    """
    layout = layout.of_file(part.path)
    names = _names(part.path, layout)
    if names is None:
        return Scan(file=part.path, names=(), columns={}, types={}, source="", row="", rows=0)
    places = chosen(part.path, names, wanted)
    counter = Counter(part.path, layout, len(names), header=layout.names is None)
    counted = counter.count()
    read, read_as, header = part.path, layout, int(layout.names is None)
    if not counted.plain:
        counted = counter.copy(copy)
        read, read_as, header = copy, replace(_COPY, nulls=layout.nulls), 0
    declared = ", ".join(f"'column{place}': 'VARCHAR'" for place in range(len(names)))
    # Without auto_detect: the sniffer, left alone, skips lines that it finds odd.
    settings = f"{_dialect(read_as, counted)}, header = {bool(header)}, auto_detect = false, columns = {{{declared}}}"
    scan = Scan(
        file=part.path,
        names=names,
        columns={names[place]: f"column{place}" for place in places},
        types={},
        source=f"read_csv({literal(read)}, hive_partitioning = false, {settings})",
        # An empty window numbers rows in the order of the file, and streams.
        row=f"(row_number() OVER () + {int(layout.names is None) + layout.skip_lines})",
        rows=counted.rows,
        breaks={names[place]: Break(part.path, *counted.broken[place]) for place in counted.broken},
    )
    return with_partition(connection, part, scan, wanted)


def _names(file: Path, layout: Layout) -> list[str] | None:
    """The columns of a file; None where it holds nothing at all.

    Raises:
        UserError: for a first line that is no header, or one where there should be none.
    """
    first = next(records(file, layout), None)
    if first is None:
        return None
    fields = [field.decode() for field in first.fields]
    if layout.names is not None:
        if fields == list(layout.names):
            raise UserError(f"{file}, line {first.line}: this is a header; leave out the column names")
        return list(layout.names)
    if len(fields) == 1:
        other = next((mark for mark in ("\t", ";", "|", ",") if mark in fields[0] and mark != layout.delimiter), None)
        if other is not None:
            flag = {"\t": "tab"}.get(other, f"'{other}'")
            raise UserError(
                f"{file}, line {first.line}: the header is one field that holds {flag}; give --delimiter {flag}"
            )
    return fields


def _dialect(layout: Layout, counted: Counted) -> str:
    quote = quoted(layout.quote)
    nulls = ", ".join(map(quoted, ("", *layout.nulls)))
    long = f", max_line_size = {2 * counted.longest}" if counted.longest > _LONG_LINE else ""
    return f"delim = {quoted(layout.delimiter)}, quote = {quote}, escape = {quote}, nullstr = [{nulls}]{long}"
