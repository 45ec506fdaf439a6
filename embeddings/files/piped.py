"""Files of libraries that end the process where a disk is full: they write to a pipe, and a second process to the file.

torch.jit.save is one: what it throws when a write fails leaves a destructor, which is the end of any C++ program.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pinfm.embeddings.files.sums import PART

# Where the copier dies, the shell reads the pipe to its end: a writer would wait for good, or end as with a full disk.
DRAIN = '"$@"; status=$?; cat > /dev/null; exit $status'


@contextmanager
def piped(path: Path) -> Iterator[Path]:
    """Yields a pipe of the same name, whose bytes become the file `path` as they come.

    Args:
        path: the file to write; it is on the disk afterwards.

    Raises:
        OSError: the file could not be opened, before anything else, or not be written; what wrote to the pipe has not
            noticed.
        ChildProcessError: the second process died.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder, path.name)
        os.mkfifo(pipe)
        # Of a pipe that has no other end yet, one end can't be opened.
        both = os.open(pipe, os.O_RDWR)
        end, held = os.open(pipe, os.O_RDONLY), os.open(pipe, os.O_WRONLY)
        os.close(both)
        # Held from before the copier begins: a pipe that nobody has open for writing has come to its end.
        with _copier(end, file) as copier:
            try:
                yield pipe
            finally:
                os.close(held)
                _require_copied(copier, path)


def _copier(end: int, file: int) -> "subprocess.Popen[str]":
    command = ["sh", "-c", DRAIN, "sh", sys.executable, "-P", "-m", "pinfm.embeddings.files.piped", str(file)]
    try:
        # A session of its own: Ctrl-C is for this process alone, and the other one ends with the pipe.
        return subprocess.Popen(
            command, stdin=end, stdout=subprocess.PIPE, text=True, pass_fds=[file], start_new_session=True
        )
    finally:
        for descriptor in (end, file):
            os.close(descriptor)


def _require_copied(copier: "subprocess.Popen[str]", path: Path) -> None:
    said, _ = copier.communicate()
    if copier.returncode:
        raise ChildProcessError(f"the process that wrote {path} died (status {copier.returncode})")
    if int(said):
        raise OSError(int(said), os.strerror(int(said)), str(path))


def copy(source: int, file: int) -> int:
    """Copies a pipe to a file, and reads it to its end where the file takes no more.

    Args:
        source: descriptor of the pipe.
        file: of the file, which is closed.

    Returns:
        What the system said, as errno; 0 where all went well.
    """
    failed = 0
    while part := os.read(source, PART):
        rest = memoryview(part)
        try:
            while rest and not failed:
                rest = rest[os.write(file, rest) :]
        except OSError as error:
            failed = error.errno or 1
    try:
        os.fsync(file)
        os.close(file)
    except OSError as error:
        failed = failed or error.errno or 1
    return failed


if __name__ == "__main__":
    print(copy(sys.stdin.fileno(), int(sys.argv[1])))
