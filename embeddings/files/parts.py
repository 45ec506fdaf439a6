"""The files of one table: those of a folder and of the folders in it, perhaps named `key=value` as warehouses do."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pinfm.embeddings.errors import UserError

# Folders in which files stand that are no longer, or not yet, rows of the table.
_LOGGED = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata": "Iceberg"}
_PARTITION = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """One file of a table.

    Args:
        path: the file.
        partition: (key, value) of each folder `key=value` between the table's folder and the file; a value is text,
            or None for a missing one.
    """

    path: Path
    partition: tuple[tuple[str, str | None], ...] = ()

    @property
    def is_parquet(self) -> bool:
        """Whether it is Parquet and no text."""
        return self.path.name.endswith(".parquet")


def parts_below(root: Path, suffixes: tuple[str, ...], kinds: str, folder: str) -> list[Part]:
    """The files of a folder and of the folders in it, sorted by path.

    Names that begin with a dot or an underscore are markers of other tools (`_SUCCESS`, `.part-0.crc`).

    Args:
        root: the folder.
        suffixes: what the names of the table's files may end in.
        kinds: the same for a sentence.
        folder: what `root` is, for a sentence.

    Raises:
        UserError: no file is of the table, one is of another kind, the folder has a log of its own that says which
            files count, or a link leads to a folder twice.
    """
    parts, strays = [], []
    for path, partition in _files(root):
        if path.name.endswith(suffixes):
            parts.append(Part(path, partition))
        else:
            strays.append(path)
    if not parts:
        raise UserError(f"{root} holds no file ending in {kinds}; give {folder}")
    if strays:
        raise UserError(f"{strays[0]} is no file ending in {kinds}; move it out of {folder}")
    return sorted(parts, key=lambda part: part.path.parts)


def _files(root: Path) -> Iterator[tuple[Path, tuple[tuple[str, str | None], ...]]]:
    seen = {root.resolve()}
    for folder, folders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        for marker, product in _LOGGED.items():
            if marker in folders and (marker != "metadata" or any((here / marker).glob("*.metadata.json"))):
                raise UserError(f"{here} is a table of {product}, whose folder holds old rows too; export it to files")
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in folders:
            if (target := (here / name).resolve()) in seen:
                raise UserError(f"{here / name} leads to a folder that is read already; remove the link")
            seen.add(target)
        partition = _partition(here.relative_to(root))
        for name in sorted(files):
            if not name.startswith((".", "_")) and not name.endswith(".crc"):
                yield here / name, partition


def _partition(folders: Path) -> tuple[tuple[str, str | None], ...]:
    found = []
    for named in map(_PARTITION.fullmatch, folders.parts):
        if named:
            value = unquote(named[2])
            found.append((unquote(named[1]), None if value == _NO_VALUE else value))
    return tuple(found)
