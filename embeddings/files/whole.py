"""Files that hold what they are promised to hold, whenever the process or the machine stops."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling, which takes the place of `path` when the block ends without an exception.

    What was there stays until then, and nothing of the temporary file stays after an exception.

    Args:
        path: a file, or nothing yet.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        sync(unfinished)
        unfinished.replace(path)
        sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, or leaves what was there."""
    with replaced(path) as unfinished:
        unfinished.write_text(text)


def sync(path: Path) -> None:
    """Waits until a file, or the list of a folder's files, is on the disk and not in memory alone."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_tree(folder: Path) -> None:
    """Waits until everything below a folder is on the disk."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))
