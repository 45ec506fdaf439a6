"""How a text file is laid out: what stands between fields, what quotes them, what a missing value looks like."""

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pinfm.embeddings.errors import UserError

# What people write for characters that a shell makes hard to give.
_SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ", "none": "", "": ""}
# Hive's own is \x01, which it writes \001 and editors show as ^A.
_CODE = re.compile(r"\\x([0-9a-fA-F]{2})|\\([0-7]{3})|\^([A-Z])")
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the text files of a table are laid out.

    Args:
        delimiter: between two fields; None chooses a tab for `.tsv` and a comma otherwise.
        names: column names of a file without a header line; None reads them from the header.
        encoding: a name that Python knows, such as `utf-8`, `latin-1` or `utf-16`.
        quote: the character around fields that hold delimiters; empty when quotes are ordinary text; None chooses `"`
            where the format has quotes, which `.tsv` has not.
        escape: the character before one that is meant as it stands; empty where a quote is doubled instead.
        nulls: what a missing value looks like, beside nothing at all.
        skip_lines: lines before the header, or before the first row where there is none.
    """

    delimiter: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    quote: str | None = None
    escape: str = ""
    nulls: tuple[str, ...] = ("\\N",)
    skip_lines: int = 0

    def of_file(self, file: Path) -> "Layout":
        """Returns the layout with what the file's name decides filled in."""
        tabs = without_compression(file.name).endswith(".tsv")
        delimiter = ("\t" if tabs else ",") if self.delimiter is None else self.delimiter
        quote = ("" if tabs else '"') if self.quote is None else self.quote
        return replace(self, delimiter=delimiter, quote=quote)


CSV = Layout()


def without_compression(name: str) -> str:
    """Returns the file name without `.gz` or `.zst`."""
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return name


def spelled_character(flag: str, text: str | None, longest: int = 1) -> str | None:
    r"""Returns the character that a flag means: itself, its name (`tab`, `none`) or its code (`\x01`, `\001`, `^A`).

    Raises:
        UserError: when it is longer than `longest` bytes, or a line break.
    """
    if text is None:
        return None
    meant = _SPELLED.get(text, text)
    if code := _CODE.fullmatch(text):
        hexadecimal, octal, control = code.groups()
        meant = chr(int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else ord(control) - ord("@"))
    if len(meant.encode()) > longest or set(meant) & {"\n", "\r", "\0"}:
        wanted = "one character" if longest == 1 else f"at most {longest} bytes"
        raise UserError(f"{flag} ({text!r}) must be {wanted} and no line break; give such as ';', tab or none")
    return meant


def require_layout(layout: Layout) -> None:
    """Refuses a layout that no file can have.

    Raises:
        UserError: when characters coincide, the encoding is unknown or a name is missing.
    """
    if layout.delimiter == "":
        raise UserError("delimiter is empty; give what stands between two fields, such as ';' or tab")
    marks = [mark for mark in (layout.delimiter, layout.quote, layout.escape) if mark]
    if len(set(marks)) < len(marks) and layout.quote != layout.escape:
        raise UserError("delimiter, quote and escape must differ; leave out those that the file does not have")
    try:
        codecs.lookup(layout.encoding)
    except LookupError as error:
        raise UserError(f"encoding ({layout.encoding}) is unknown; give such as utf-8, latin-1 or utf-16") from error
    if layout.skip_lines < 0:
        raise UserError(f"skip_lines ({layout.skip_lines}) must not be negative; give the lines before the header")
    if layout.names is not None and len(set(layout.names)) < len(layout.names):
        twice = next(name for name in layout.names if layout.names.count(name) > 1)
        raise UserError(f"the column names hold {twice!r} twice; name each column once")
