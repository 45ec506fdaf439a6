"""How many rows a text file has, counted without the engine that reads it: what it reads must be as many."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.text.layout import Layout
from pinfm.train.data.reading.text.records import Record, Splitter, records, require_length
from pinfm.train.data.reading.text.streams import blocks

_LINE_FEED, _RETURN = 10, 13
_BLANKS = str.maketrans("\r\n", "  ")
_NUMBER = re.compile(rb"\s*[+-]?[0-9]+([.][0-9]*)?\s*")
_Places = npt.NDArray[np.int64]


@dataclass
class Counted:
    """What a pass over a text file found.

    Args:
        rows: records, the header not among them.
        longest: bytes of the longest record.
        plain: whether DuckDB reads such a file right: one kind of line end, no escapes, nothing before the header.
        broken: column -> (line of the first one, number) of its fields that hold a line break.
    """

    rows: int = 0
    longest: int = 0
    plain: bool = True
    broken: dict[int, tuple[int, int]] = field(default_factory=dict)


class Counter:
    """Counts the records of a file and the fields of each.

    Args:
        file: the file.
        layout: from `Layout.of_file`.
        num_fields: fields that each record must have.
        header: whether the first record holds the names.
    """

    def __init__(self, file: Path, layout: Layout, num_fields: int, header: bool):
        self.file = file
        self.layout = layout
        self.num_fields = num_fields
        self.header = header
        # DuckDB reads a blank line as a row where there is one column, and takes one before the header for it.
        plain = num_fields > 1 and not layout.skip_lines and not layout.escape and layout.encoding == "utf-8"
        self.found = Counted(rows=-int(header), plain=plain)
        self._quote = (layout.quote or "").encode()
        self._delimiter = (layout.delimiter or "").encode()
        self._splitter = Splitter(file, layout)

    def count(self) -> Counted:
        """Reads the file block by block, up to where it shows itself not to be plain.

        Raises:
            UserError: for a record of another number of fields, a quote that fits nowhere, or a quoted field that
                swallows rows; the line is named.
        """
        text, line = b"", 1
        for block in blocks(self.file, self.layout):
            if line == 1 and not text:
                self.found.plain &= not block.startswith((b"\n", b"\r"))
            text += block
            returns = text.count(b"\r")
            self.found.plain &= returns in (0, text.count(b"\n")) and returns == text.count(b"\r\n")
            if not self.found.plain:
                return self.found
            used = self._count_block(text, line)
            line += text.count(b"\n", 0, used)
            text = text[used:]
            require_length(self.file, len(text), line)
        self._count_records(text, line, final=True)
        return self.found

    def copy(self, target: Path) -> Counted:
        """Counts like `count`, and writes the rows as a file that is plain: CSV in UTF-8, without header or escapes.

        Args:
            target: the file to write. Line breaks within fields become blanks, since no column that is used may have
                one.
        """
        self.found = Counted(rows=-int(self.header))
        with target.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            for number, record in enumerate(records(self.file, self.layout)):
                self._count_record(record)
                if number or not self.header:
                    fields = [field.decode() for field in record.fields]
                    self.found.longest = max(self.found.longest, 2 * sum(map(len, record.fields)) + 3 * len(fields))
                    writer.writerow([field.translate(_BLANKS) for field in fields])
        return self.found

    def _count_block(self, text: bytes, line: int) -> int:
        """Counts the whole records at the beginning of the text; returns their bytes."""
        if len(self._delimiter) > 1:
            return self._count_records(text, line, final=False)
        data = np.frombuffer(text, dtype=np.uint8)
        breaks, marks = np.flatnonzero(data == _LINE_FEED), np.flatnonzero(data == self._delimiter[0])
        if not self._quote or self._quote not in text:
            return self._count_lines(data, breaks, marks, line)
        quotes = np.flatnonzero(data == self._quote[0])
        # An odd number of quotes before a place means that it lies within quotes.
        within = np.searchsorted(quotes, breaks) % 2 == 1
        ends, inner = breaks[~within], breaks[within]
        if not len(ends):
            return 0
        used = int(ends[-1]) + 1
        if not self._fits(data, quotes[quotes < used]):
            return self._count_records(text, line, final=False)
        if len(inner := inner[inner < used]):
            self._count_records(text[:used], line, final=True)
            return used
        return self._count_lines(data, ends, marks[np.searchsorted(quotes, marks) % 2 == 0], line)

    def _fits(self, data: npt.NDArray[np.uint8], quotes: _Places) -> bool:
        """Whether every quote opens a field at its beginning, closes it at its end, or is doubled."""
        opening, closing = quotes[0::2], quotes[1::2]
        before = data[opening[opening > 0] - 1]
        after = data[closing + 1]
        edges = (_LINE_FEED, self._quote[0], self._delimiter[0])
        return bool(np.isin(before, edges).all() and np.isin(after, (*edges, _RETURN)).all())

    def _count_lines(self, data: npt.NDArray[np.uint8], ends: _Places, marks: _Places, line: int) -> int:
        """Counts records of one line each, all at once."""
        if not len(ends):
            return 0
        lengths = np.diff(ends, prepend=-1) - 1
        num_fields = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
        blank = (lengths == 0) | ((lengths == 1) & (data[ends - 1] == _RETURN))
        wrong = np.flatnonzero((num_fields != self.num_fields) & ~blank)
        if len(wrong):
            raise self._ragged(line + int(wrong[0]), int(num_fields[wrong[0]]))
        self.found.rows += len(ends) - int(blank.sum())
        self.found.longest = max(self.found.longest, int(lengths.max()))
        return int(ends[-1]) + 1

    def _count_records(self, text: bytes, line: int, final: bool) -> int:
        """Counts records one by one, as those with odd quotes need."""
        place = 0
        for record, end in self._splitter.split(text, line, final):
            self._count_record(record)
            self.found.longest = max(self.found.longest, end - place)
            place = end
        return place

    def _count_record(self, record: Record) -> None:
        if len(record.fields) != self.num_fields:
            raise self._ragged(record.line, len(record.fields))
        self.found.rows += 1
        for column, line in self._breaks(record):
            first, number = self.found.broken.get(column, (line, 0))
            self.found.broken[column] = (first, number + 1)

    def _breaks(self, record: Record) -> Iterator[tuple[int, int]]:
        """The columns of a record whose field holds a line break.

        Raises:
            UserError: when a line within the field looks like a row of its own.
        """
        for column, value in enumerate(record.fields):
            if b"\n" not in value:
                continue
            swallowed = self._swallowed(record, column)
            if swallowed:
                lines = "a line like a row" if swallowed == 1 else f"{swallowed} lines like rows"
                raise UserError(
                    f"{self.file}, line {record.line}: a quoted field begins here and holds {lines} of "
                    f"{self.num_fields} fields; give --quote none if quotes are ordinary text, or take the line breaks "
                    "out of the field if it is one text"
                )
            yield column, record.line

    def _swallowed(self, record: Record, column: int) -> int:
        """How many lines within a field look like rows, or like the beginning of the one that ends with the record.

        Between two stray quotes lie the end of one row, whole rows, and the beginning of another:

            1,10,"abc        what follows `abc` is as the end of a row, here nothing
            2,20,de          a whole row
            3,30,fgh"        as many fields before the quote as there are before the first one
        """
        if self.num_fields == 1:
            return 0
        fields = record.fields
        first, *inner, last = (line.split(self._delimiter) for line in fields[column].split(b"\n"))
        before, behind = fields[:column], fields[column + 1 :]
        # What stands in the column is unknown, but for whether it begins with a blank.
        unknown = b" " if first[0][:1].isspace() else b"x"
        rows = sum(_alike([*before, unknown, *behind], line) for line in inner)
        ends = _alike([first[0], *behind], first) and _alike([*before, unknown], last)
        return rows + ends

    def _ragged(self, line: int, number: int) -> UserError:
        fields = f"{number} field{'s' * (number != 1)}"
        wanted = f"where the header has {self.num_fields}"
        if self.layout.names is not None:
            wanted = f"where the column names are {self.num_fields}"
        mend = "mend the line"
        if number > self.num_fields and not self._quote:
            mend += ", or give --quote '\"' if quotes hold delimiters together"
        if number == self.num_fields + 1 and self.header:
            mend += ", or name all columns with --column-names and --skip-lines 1 if the header lacks a name"
        return UserError(f"{self.file}, line {line}: {fields} {wanted}; {mend}")


def _alike(row: Sequence[bytes], line: Sequence[bytes]) -> bool:
    """Whether the fields of a line could stand in the row's columns: prose has commas too, and blanks after them."""
    return len(row) == len(line) and all(map(_could_be, row, line))


def _could_be(known: bytes, field: bytes) -> bool:
    if not known.strip() or not field.strip():
        return True
    if _NUMBER.fullmatch(known):
        return bool(_NUMBER.fullmatch(field))
    return known[:1].isspace() or not field[:1].isspace()
