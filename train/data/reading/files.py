"""Which files a table is made of: a file, or a folder of files, perhaps in folders named `key=value`."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.addresses import require_local
from pinfm.embeddings.files.parts import Part, parts_below
from pinfm.train.data.reading.text.layout import without_compression

_TEXT = (".csv", ".tsv", ".dat")
SUFFIXES = (".parquet", *(f"{kind}{packed}" for kind in _TEXT for packed in ("", ".gz", ".zst")))
_KINDS = ".parquet, .csv, .tsv or .dat, the latter perhaps with .gz or .zst behind"


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


def table_parts(path: Path) -> list[Part]:
    """The files of a table: the file itself, or those of a folder and of the folders in it, sorted by path.

    Raises:
        UserError: there is none; one is of a kind that is not read, or of another kind than the others.
    """
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise UserError(f"{path} is of no kind that can be read; give a file ending in {_KINDS}")
        return [Part(path)]
    if not path.is_dir():
        require_local(path)
        raise _missing(path)
    parts = parts_below(path, SUFFIXES, _KINDS, "the table's folder")
    _require_one_kind(parts)
    return parts


def _missing(path: Path) -> UserError:
    if re.search(r"[*?\[]", str(path)):
        return UserError(f"{path} does not exist, and patterns are not expanded; give the folder that holds the files")
    return UserError(f"{path} does not exist; give a Parquet or CSV file, or a folder of them")


def _require_one_kind(parts: Sequence[Part]) -> None:
    def kind(part: Part) -> str:
        return Path(without_compression(part.path.name)).suffix

    other = next((part for part in parts if kind(part) != kind(parts[0])), None)
    if other is not None:
        raise UserError(
            f"{parts[0].path} and {other.path} are of two kinds in one table's folder; keep those of one kind there"
        )


def require_no_copies(parts: Sequence[Part]) -> None:
    """Refuses rows that stand there twice, which would count twice; files of one size are read for it.

    Args:
        parts: from `table_parts`.

    Raises:
        UserError: two files are the same data.
    """
    names: dict[Path, Path] = {}
    sizes = defaultdict(list)
    for part in parts:
        plain = part.path.with_name(without_compression(part.path.name))
        if plain in names:
            raise _twice(names[plain], part.path)
        names[plain] = part.path
        sizes[part.path.stat().st_size, part.partition].append(part.path)
    for (size, _), paths in sizes.items():
        if size and len(paths) > 1:
            digests: dict[bytes, Path] = {}
            for path in paths:
                with path.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "blake2b").digest()
                if digest in digests:
                    raise _twice(digests[digest], path)
                digests[digest] = path


def _twice(one: Path, other: Path) -> UserError:
    return UserError(f"{one} and {other} are the same data twice; move one of them out of the table's folder")
