"""What Linux does for processes whose parent has died, which Python's library has no words for."""

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

# linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Descendants of this process whose parents die become its children, so that `end_orphans` finds them."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_orphans() -> None:
    """Kills every child of this process, and theirs as they come to it."""
    while children := _children():
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


def end_with_parent() -> None:
    """Asks for a SIGTERM to this process when its parent dies."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _children() -> list[int]:
    """From every process's own line: the file that lists a process's children is not in every kernel."""
    found = []
    for line in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # Behind the name, which may hold spaces and brackets: the state, and the parent.
            parent = line.read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(line.parent.name))
    return found


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
