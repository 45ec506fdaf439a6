"""Folders that appear whole or not at all: prepared datasets and models."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.lock import being_written
from pinfm.embeddings.files.whole import sync, sync_tree


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `out`, and renames it to `out` when the block ends without an exception.

    Args:
        out: the folder to create; it may exist if it is empty.

    Raises:
        UserError: when `out` exists and is not an empty folder, cannot be created, or is being written by another
            process.
    """
    require_free(out)
    out = out.resolve()  # a rename can't replace `.` or a link
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _beside(out, error) from error
    with being_written(out) as alone:
        require_free(out)  # who held the lock until now may have made it
        try:
            if alone:
                _remove_leftovers(out)
            # A sibling, because a rename is atomic only within one file system.
            temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
            temporary.chmod(0o755)  # mkdtemp makes it private; the folder should be as readable as its neighbours
        except OSError as error:
            raise _beside(out, error) from error
        try:
            yield temporary
            sync_tree(temporary)
            _rename(temporary, out)
            sync(out.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def require_free(out: Path) -> None:
    """Raises UserError where `out` exists and is not an empty folder."""
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; choose another --out or remove it")


def _remove_leftovers(out: Path) -> None:
    """Removes what killed processes left: who is alive holds the lock, which is ours now."""
    ours = re.compile(rf"\.{re.escape(out.name)}\.[a-z0-9_]{{8}}\.tmp")  # as mkdtemp names them
    for path in out.parent.iterdir():
        if ours.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _beside(out: Path, error: OSError) -> UserError:
    return UserError(f"cannot create a folder beside {out} ({error.strerror}); choose another --out")


def _rename(temporary: Path, out: Path) -> None:
    try:
        os.rename(temporary, out)
    except OSError as error:
        raise UserError(f"cannot create {out} ({error.strerror}); choose another --out") from error
