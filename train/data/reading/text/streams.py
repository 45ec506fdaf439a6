"""A text file as blocks of UTF-8, whatever it is packed or encoded in."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import IO

import pyarrow

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.text.layout import Layout

BLOCK_BYTES = 8 << 20
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def blocks(file: Path, layout: Layout) -> Iterator[bytes]:
    """Yields the file's text as UTF-8 without a byte-order mark, unpacked, a few megabytes at a time.

    A file whose lines end in carriage returns alone is given line feeds.

    Raises:
        UserError: when the file is torn, not packed as its name says, not of the layout's encoding, or holds a NUL.
    """
    decoder = codecs.getincrementaldecoder(layout.encoding)()
    lines, first, old_mac = 1, True, False
    for raw in chain(_unpacked(file), [b""]):  # the empty one ends the decoder
        if first:
            _require_marks(file, raw, layout)
        try:
            text = decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            raise _undecodable(file, layout, error, lines) from error
        text = text.removeprefix("\ufeff") if first else text
        if first:
            old_mac = "\r" in text and "\n" not in text
        block = (text.replace("\r", "\n") if old_mac else text).encode()
        if b"\0" in block:
            line = lines + block[: block.index(b"\0")].count(b"\n")
            raise UserError(
                f"{file}, line {line}: there is a NUL byte; a text file has none: write it anew, or give its --encoding"
            )
        lines += block.count(b"\n")
        first = False
        if block:
            yield block


def _unpacked(file: Path) -> Iterator[bytes]:
    try:
        with closing(_open(file)) as stream:
            while raw := stream.read(BLOCK_BYTES):
                yield bytes(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error, pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        kind = "zstd" if file.name.endswith(".zst") else "gzip"
        raise UserError(f"{file} is no whole {kind} file: it is torn, or of another kind; pack it anew") from error


def _open(file: Path) -> IO[bytes] | pyarrow.CompressedInputStream:
    if file.name.endswith(".gz"):
        return gzip.open(file)
    if file.name.endswith(".zst"):
        return pyarrow.CompressedInputStream(pyarrow.OSFile(str(file)), "zstd")
    return file.open("rb")


def _require_marks(file: Path, raw: bytes, layout: Layout) -> None:
    for mark, encoding in _MARKS:
        if raw.startswith(mark) and not layout.encoding.lower().startswith("utf-16"):
            raise UserError(f"{file} begins as {encoding} does; read it with --encoding {encoding}")


def _undecodable(file: Path, layout: Layout, error: UnicodeDecodeError, lines: int) -> UserError:
    line = lines + bytes(error.object[: error.start]).count(b"\n")
    byte = error.object[error.start]
    return UserError(
        f"{file}, line {line}: the byte 0x{byte:02X} is no {layout.encoding} text; give the file's encoding, "
        "such as --encoding latin-1"
    )
