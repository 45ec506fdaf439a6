"""A lock on a file, which the kernel gives back when its holder dies, however it dies."""

import errno
import fcntl
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pinfm.embeddings.errors import UserError

# What a file system says that has no locks, such as Lustre mounted without them.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(path: Path, busy: str) -> Iterator[bool]:
    """Holds a lock while the block runs: one process at a time, on all machines that share the file system.

    Yields whether it is held: on a file system without locks others may be at work too.

    Args:
        path: the lock's file, which is removed afterwards; its folder exists. A process that was killed leaves the file
            and not the lock.
        busy: what to say where another process holds it.

    Raises:
        UserError: `busy`.
    """
    file, held = _acquire(path, busy)
    try:
        yield held
    finally:
        # While it is still held: who comes later makes a new file, and who has opened this one sees that it is gone.
        path.unlink(missing_ok=True)
        os.close(file)


@contextmanager
def being_written(out: Path) -> Iterator[bool]:
    """Keeps other commands from writing the same file or folder while the block runs; see `locked`.

    Args:
        out: what is written; its parent exists.

    Raises:
        UserError: another command is writing it, or nothing can be written beside it.
    """
    busy = f"{out} is being written by another command; wait for its end, or choose another --out"
    with ExitStack() as stack:
        try:
            held = stack.enter_context(locked(out.with_name(f".{out.name}.lock"), busy))
        except OSError as error:
            raise UserError(f"cannot write beside {out} ({error.strerror}); choose another --out") from error
        yield held


def _acquire(path: Path, busy: str) -> tuple[int, bool]:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise UserError(busy) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                os.close(file)
                raise
            warnings.warn(f"{path}: this file system has no locks, so take care to write here once.", stacklevel=4)
            return file, False
        if _stands(file, path):
            return file, True
        os.close(file)


def _stands(file: int, path: Path) -> bool:
    """Whether the open file is still the one at the path, which its last holder may have removed."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
