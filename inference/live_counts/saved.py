"""Files of arrays that are read whole or not at all.

The first line names this format and its version; the second is JSON, with what the writer tells and the arrays' types
and shapes. Then come the arrays' bytes, and the SHA-256 of everything before it.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.lock import being_written
from pinfm.embeddings.files.whole import replaced

Arrays = Mapping[str, npt.NDArray[Any]]

FORMAT = b"pinfm live counts "
VERSION = b"1"
DIGEST_BYTES = hashlib.sha256().digest_size
# Bytes hashed at a time.
PART = 1 << 22


def write_arrays(path: Path, told: Mapping[str, Any], arrays: Arrays) -> None:
    """Writes a file, which appears when it is whole; what was there stays until then.

    Args:
        path: of the file.
        told: what JSON can hold.
        arrays: by name.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file to save to.")
    shapes = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps({"told": told, "arrays": shapes}).encode()
    digest = hashlib.sha256()
    with being_written(path), replaced(path) as unfinished, unfinished.open("wb") as file:
        first: list[memoryview] = [memoryview(line) for line in (FORMAT + VERSION + b"\n", header + b"\n")]
        for part in chain(first, map(_bytes_of, arrays.values())):
            for start in range(0, len(part), PART):
                digest.update(part[start : start + PART])
                file.write(part[start : start + PART])
        file.write(digest.digest())


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Reads what `write_arrays` wrote: what was told, and the arrays.

    Raises:
        UserError: there is no such file, another version wrote it, or it is not what was written.
    """
    try:
        with path.open("rb") as file:
            first = file.readline(100)
            if not first.startswith(FORMAT):
                raise UserError(f"{path} holds no live counts; give a file that `save` wrote.")
            if first != FORMAT + VERSION + b"\n":
                version = first.removeprefix(FORMAT).decode(errors="replace").strip()
                raise UserError(
                    f"{path} is of version {version} of the format, this pinfm reads {VERSION.decode()}; feed a new "
                    "object from the log."
                )
            if not _is_whole(file):
                raise UserError(f"{path} is damaged or not whole (sha256 differs); load another, or feed from the log.")
            file.seek(len(first))
            header = json.loads(file.readline())
            arrays = {name: _read(file, np.dtype(dtype), shape) for name, dtype, shape in header["arrays"]}
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); give a file that `save` wrote.") from error
    return header["told"], arrays


def _is_whole(file: BinaryIO) -> bool:
    """Whether the file ends in the digest of all before it."""
    left = file.seek(0, 2) - DIGEST_BYTES
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0:
        part = file.read(min(PART, left))
        digest.update(part)
        left -= len(part)
    return left == 0 and file.read() == digest.digest()


def _read(file: BinaryIO, dtype: np.dtype[Any], shape: list[int]) -> npt.NDArray[Any]:
    array = np.empty(shape, dtype=dtype)
    file.readinto(_bytes_of(array))  # type: ignore[attr-defined]
    return array


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
