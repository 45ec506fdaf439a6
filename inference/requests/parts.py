"""The files that requests stand in: a Parquet file, or a folder of them as Spark writes it."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pinfm.embeddings.errors import UserError

SUFFIX = ".parquet"
_PARTITION = re.compile(r"([^=]+)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """One file of requests.

    Args:
        path: the file.
        partition: (column, value) of each folder `column=value` between the given folder and the file; None for a
            missing value.
    """

    path: Path
    partition: tuple[tuple[str, str | None], ...] = ()


def request_parts(path: Path) -> list[Part]:
    """The file itself, or the files of a folder and of the folders in it, sorted by their paths.

    Names that begin with a dot or an underscore are markers of other tools (`_SUCCESS`, `.part-0.crc`).

    Raises:
        UserError: there is none, or another file stands among them.
    """
    if path.is_file():
        return [Part(path)]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a Parquet file of requests, or a folder of them.")
    files = [file for file in sorted(path.rglob("*"), key=lambda file: file.parts) if file.is_file()]
    below = [file.relative_to(path) for file in files]
    below = [file for file in below if not any(part.startswith((".", "_")) for part in file.parts)]
    for file in below:
        if file.suffix != SUFFIX:
            raise UserError(f"{path / file} is no file ending in {SUFFIX}; move it out of the folder of requests.")
    if not below:
        raise UserError(f"{path} holds no file ending in {SUFFIX}; give the folder of the requests.")
    return [Part(path / file, _partition(file.parent)) for file in below]


def _partition(folders: Path) -> tuple[tuple[str, str | None], ...]:
    named = [found for folder in folders.parts if (found := _PARTITION.fullmatch(folder))]
    return tuple((unquote(found[1]), None if found[2] == _NO_VALUE else unquote(found[2])) for found in named)
