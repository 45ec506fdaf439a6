"""Which files a table is made of, and how text files are laid out; nothing is opened here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pinfm.embeddings.errors import UserError

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".dat", ".dat.gz")


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


def table_files(path: Path) -> list[Path]:
    """The files of a table: the file itself, or those of a folder, sorted.

    Raises:
        UserError: there is none, or a file is of a kind that is not read.
    """
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise UserError(f"{path} is of no kind that can be read; give a file ending in {', '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a Parquet or CSV file, or a folder of them")
    # Names that begin so are markers of other tools: _SUCCESS, .part-0.crc.
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith((".", "_")))
    files = [entry for entry in entries if entry.is_file() and entry.name.endswith(SUFFIXES)]
    if files and len(files) < len(entries):
        other = next(entry for entry in entries if entry not in files)
        raise UserError(f"{other} is no file ending in {', '.join(SUFFIXES)}; move it out of the table's folder")
    if not files:
        raise UserError(f"{path} holds no file ending in {', '.join(SUFFIXES)}; give the folder of the table's files")
    return files
