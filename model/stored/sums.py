"""Sums over the files of a checkpoint, written with it: bytes that change on a disk, or are changed, are noticed."""

import json
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.sums import crc32_of

SUMS = "sums.json"

# Checkpoints read in this process, as they were then: an export reads one for every table.
_unchanged: set[tuple[object, ...]] = set()


def file_sums(files: Iterable[Path]) -> dict[str, list[int]]:
    """The size and the CRC-32 of files, by name; SHA-256 would take a minute for the paper's tables."""
    paths = list(files)
    with ThreadPoolExecutor() as threads:
        return dict(zip((path.name for path in paths), threads.map(_sum, paths), strict=True))


def write_sums(checkpoint: Path, sums: Mapping[str, list[int]]) -> None:
    """Writes what `file_sums` found of all files of a checkpoint."""
    (checkpoint / SUMS).write_text(json.dumps(dict(sorted(sums.items())), indent=2) + "\n")


def require_unchanged(checkpoint: Path, part: int = 0, parts: int = 1) -> None:
    """Checks that a checkpoint has the files that were written, and that they hold what was written.

    An older pinfm wrote no sums; its checkpoints are read with a warning.

    Args:
        checkpoint: the folder.
        part: which share of the files is read, where ranks divide them.
        parts: how many shares there are.

    Raises:
        UserError: names the file that is missing, does not belong there or was changed.
    """
    if not (checkpoint / SUMS).is_file():
        warnings.warn(
            f"{checkpoint} has no {SUMS}, as an older pinfm wrote it: bytes that have changed in it are not noticed.",
            stacklevel=2,
        )
        return
    written = _written(checkpoint)
    found = {path.name: path for path in sorted(checkpoint.iterdir()) if path.name != SUMS}
    for name in sorted(written.keys() - found.keys()):
        raise UserError(f"{checkpoint} lacks {name}; copy it whole, or move it away to fall back on an earlier one.")
    for name in sorted(found.keys() - written.keys()):
        raise UserError(f"{checkpoint} holds {name}, which is none of its files; take it out.")
    share = list(found.values())[part::parts]
    state = (checkpoint.resolve(), part, parts, *((path.name, *_stamp(path)) for path in found.values()))
    if state in _unchanged:
        return
    for name, size_and_sum in file_sums(share).items():
        if size_and_sum != written[name]:
            raise UserError(
                f"{checkpoint / name} was changed after it was written (its size or CRC-32 differs); move {checkpoint} "
                "away to fall back on an earlier one, or train again."
            )
    _unchanged.add(state)


def _written(checkpoint: Path) -> dict[str, list[int]]:
    try:
        sums = json.loads((checkpoint / SUMS).read_text())
        return {str(name): [int(size), int(crc32)] for name, (size, crc32) in sums.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{checkpoint / SUMS} is not what training wrote; move {checkpoint} away to fall back on an earlier one."
        ) from error


def _sum(path: Path) -> list[int]:
    return [path.stat().st_size, crc32_of(path)]


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
