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

# Bytes copied at a time.
PART = 1 << 20


@contextmanager
def piped(path: Path) -> Iterator[Path]:
    """Yields a pipe of the same name, whose bytes become the file `path` as they come.

    Args:
        path: the file to write; it is on the disk afterwards.

    Raises:
        OSError: the file could not be written; what wrote to the pipe has not noticed.
    """
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder, path.name)
        os.mkfifo(pipe)
        held = os.open(pipe, os.O_RDWR)  # so that nobody who opens an end waits for the other one
        end = os.open(pipe, os.O_RDONLY)
        # A session of its own: Ctrl-C is for this process alone, and the other one ends with the pipe.
        command = [sys.executable, "-P", "-m", "pinfm.embeddings.files.piped", str(path)]
        with subprocess.Popen(command, stdin=end, start_new_session=True) as copier:
            os.close(end)
            try:
                yield pipe
            finally:
                os.close(held)
    if copier.returncode:
        raise OSError(copier.returncode, os.strerror(copier.returncode), str(path))


def copy(source: int, path: Path) -> int:
    """Copies a pipe to a file, and reads it to its end where the file takes no more.

    Args:
        source: descriptor of the pipe.
        path: the file.

    Returns:
        What the system said, as errno; 0 where all went well.
    """
    failed, file = 0, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
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
    sys.exit(copy(sys.stdin.fileno(), Path(sys.argv[1])))
