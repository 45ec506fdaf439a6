"""A text file as records of fields, read strictly: what fits the layout in no way is named by its line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.text.layout import Layout
from pinfm.train.data.reading.text.streams import blocks

# No record is longer, so a quote that is never closed doesn't take the whole file into memory.
LONGEST_RECORD = 64 << 20
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


@dataclass(frozen=True)
class Record:
    """One record of a text file.

    Args:
        line: the line it begins at, from 1.
        fields: its fields, without quotes and escapes.
    """

    line: int
    fields: list[bytes]


class Splitter:
    """Splits text into records: fields between delimiters, perhaps in quotes, up to a line's end.

    A quote opens a field at its very beginning and closes it at its very end; anywhere else in an unquoted field it is
    ordinary text. An escape works within quotes, or everywhere where the layout has no quotes.

    Args:
        file: for messages.
        layout: from `Layout.of_file`.
    """

    def __init__(self, file: Path, layout: Layout):
        self.file = file
        self.quote = (layout.quote or "").encode()
        self.escape = layout.escape.encode()
        self._delimiter = (layout.delimiter or "").encode()
        mark, quote, escape = (re.escape(part) for part in (self._delimiter, self.quote, self.escape))
        # A field ends at a delimiter, a line break or the end of the text; group 1 tells which.
        end = rb"(" + mark + rb"|\r?\n|\Z)"
        # Whole runs of what is no mark at all, and then the few characters that must be looked at.
        run = rb"[^\r\n" + b"".join({re.escape(bytes([byte])) for byte in self._delimiter + self.escape}) + rb"]"
        other = rb"(?!" + mark + rb"|\r?\n)."
        if self.escape and not self.quote:
            other = escape + rb".|" + other
        plain = rb"(?:" + run + rb"++|" + other + rb")*+"
        self._plain = re.compile(rb"(" + plain + rb")" + end, re.DOTALL)
        body = (
            rb"(?:[^"
            + quote
            + escape
            + rb"]++|"
            + quote
            + quote
            + (rb"|" + escape + rb"." if escape else b"")
            + rb")*+"
        )
        # DuckDB and others let blanks stand behind a closing quote.
        self._body = re.compile(quote + rb"(" + body + rb")" + quote + rb"[ \t]*?" + end, re.DOTALL) if quote else None
        self._open = re.compile(quote + body + rb"\Z", re.DOTALL) if quote else None
        self._escaped = re.compile(escape + rb"(.)", re.DOTALL) if escape else None

    def split(self, text: bytes, line: int, final: bool) -> Iterator[tuple[Record, int]]:
        """Yields each whole record that is not blank, and where the text after it begins.

        Args:
            text: from the beginning of a record on.
            line: the line that the text begins at.
            final: whether the file ends where the text does; what is no whole record before that is left.

        Raises:
            UserError: for a quote that is never closed, or closed in the middle of a field.
        """
        start = 0
        while start < len(text):
            fields, place = self._simple(text, start) or self._record(text, start, line, final)
            if not place:
                return
            if fields != [b""]:
                yield Record(line, fields), place
            line += text.count(b"\n", start, place)
            start = place

    def _simple(self, text: bytes, start: int) -> tuple[list[bytes], int] | None:
        """A record without quotes and escapes, which most are, and where the next one begins."""
        end = text.find(b"\n", start)
        line = text[start:end]
        if end < 0 or (self.quote and self.quote in line) or (self.escape and self.escape in line):
            return None
        return line.removesuffix(b"\r").split(self._delimiter), end + 1

    def _record(self, text: bytes, start: int, line: int, final: bool) -> tuple[list[bytes], int]:
        """Any record, and where the next one begins: 0 where the text ends before the record does."""
        fields, place = [], start
        while True:
            field, mark, place = self._field(text, place, line, start, final)
            fields.append(field)
            if mark != self._delimiter:
                return fields, place if mark or final else 0

    def _field(self, text: bytes, place: int, line: int, start: int, final: bool) -> tuple[bytes, bytes, int]:
        """A field, what ends it, and where the next one begins."""
        if self._body is not None and text.startswith(self.quote, place):
            found = self._body.match(text, place)
            if found is not None:
                return self._unquoted(found[1]), found[2], found.end()
            assert self._open is not None
            if final or self._open.match(text, place) is None:
                self._raise_open(text, place, line + text.count(b"\n", start, place))
            return b"", b"", len(text)
        found = self._plain.match(text, place)
        assert found is not None
        field = found[1]
        if self._escaped is not None and self._body is None and field != self.escape + b"N":
            field = self._escaped.sub(lambda escaped: _LETTERS.get(escaped[1], escaped[1]), field)
        return field, found[2], found.end()

    def _unquoted(self, body: bytes) -> bytes:
        if self._escaped is None:
            return body.replace(self.quote * 2, self.quote)
        # Spark escapes quotes and escapes alone: before anything else the character stands for itself.
        kept = (self.quote, self.escape)
        plain = self._escaped.sub(lambda escaped: escaped[1] if escaped[1] in kept else escaped[0], body)
        return plain.replace(self.quote * 2, self.quote) if self.quote * 2 in body else plain

    def _raise_open(self, text: bytes, place: int, line: int) -> None:
        mark = self.quote.decode()
        assert self._open is not None
        if self._open.match(text, place) is not None:
            raise UserError(
                f"{self.file}, line {line}: a quote ({mark}) opens here and is never closed; close it, or give "
                "--quote none if quotes are ordinary text"
            )
        raise UserError(
            f"{self.file}, line {line}: a quote ({mark}) stands in the middle of a quoted field; double it, or give "
            "--escape '\\' where a backslash escapes quotes, or --quote none if quotes are ordinary text"
        )


def records(file: Path, layout: Layout) -> Iterator[Record]:
    """Yields the records of a file, the header among them.

    Args:
        file: the file.
        layout: from `Layout.of_file`.

    Raises:
        UserError: see `Splitter.split` and `streams.blocks`; and for a record of more than 64 MiB.
    """
    splitter, text, line, skipped = Splitter(file, layout), b"", 1, 0
    for block, final in _with_end(blocks(file, layout)):
        text += block
        while skipped < layout.skip_lines and b"\n" in text:
            text = text[text.index(b"\n") + 1 :]
            line, skipped = line + 1, skipped + 1
        if skipped < layout.skip_lines:
            continue
        place = 0
        for record, place in splitter.split(text, line, final):  # noqa: B007
            yield record
        line += text.count(b"\n", 0, place)
        text = text[place:]
        require_length(file, len(text), line)


def line_of(file: Path, layout: Layout, row: int) -> int:
    """Returns the line that a row begins at.

    Args:
        file: the file.
        layout: from `Layout.of_file`.
        row: its number from 1, the header and the lines before it among them.
    """
    return next(islice(records(file, layout), row - layout.skip_lines - 1, None)).line


def require_length(file: Path, length: int, line: int) -> None:
    """Refuses a record that is too long to be one.

    Raises:
        UserError: it has more than 64 MiB.
    """
    if length > LONGEST_RECORD:
        raise UserError(
            f"{file}, line {line}: what begins here has over {LONGEST_RECORD >> 20} MiB and is no whole row; close its "
            "quote, or give --quote none if quotes are ordinary text"
        )


def _with_end(parts: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each part, and whether it is the last one, which is empty."""
    for part in parts:
        yield part, False
    yield b"", True
