"""What a library writes to a pipe becomes a file, and no end of the second process leaves anybody waiting."""

import errno
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
import runs

from pinfm.embeddings.files.piped import piped
from pinfm.embeddings.files.sums import crc32_of


@pytest.fixture(autouse=True)
def no_hang():
    """Ends a test that waits for a pipe."""

    def expired(*_):
        raise TimeoutError("a pipe was waited for")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(runs.HANGS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def write(path, size=1 << 20):
    with piped(path) as pipe:
        pipe.write_bytes(bytes(size))


def test_bytes_become_the_file(tmp_path):
    write(tmp_path / "model.pt", 3_000_000)
    assert (tmp_path / "model.pt").read_bytes() == bytes(3_000_000)
    assert crc32_of(tmp_path / "model.pt") == zlib.crc32(bytes(3_000_000))


def test_a_missing_folder_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "model.pt")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_is_the_systems_error():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'") as full:
        write(Path("/dev/full"))
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize(("end", "status"), [("exit 1", 1), ("exit 28", 28), ("kill -9 $$", 137)])
def test_a_copier_that_dies_is_told_and_nobody_waits(tmp_path, monkeypatch, end, status):
    """28 is ENOSPC, which the end of a process must not be taken for."""
    dying = tmp_path / "dying"
    dying.write_text(f"#!/bin/sh\n{end}\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(ChildProcessError, match=rf"model.pt died \(status {status}\)"):
        write(tmp_path / "model.pt")


def test_a_module_without_a_row_is_written(tmp_path):
    """In a process of its own, which torch would end."""
    script = """
import sys
from pathlib import Path
import torch
from pinfm.inference import export
class Empty(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("rows_RD", torch.empty(0, 4))
    def place(self, rows_RD: torch.Tensor):
        self.rows_RD = rows_RD
    def forward(self):
        return self.rows_RD
class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = Empty()
    @torch.jit.export
    def place(self, rows_RD: torch.Tensor):
        self.table.place(rows_RD)
    def forward(self):
        return self.table()
export.PRESERVED = ["place"]
path = Path(sys.argv[1])
export.save_module(Table().eval(), path)
loaded = torch.jit.load(path)
print(tuple(loaded().shape))
loaded.place(torch.ones(2, 4))
print(tuple(loaded().shape))
"""
    (tmp_path / "script.py").write_text(script)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "model.pt")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=runs.HANGS)
    assert (done.returncode, done.stdout) == (0, "(0, 4)\n(2, 4)\n"), done.stderr


def test_a_copier_that_begins_long_before_its_writer_waits(tmp_path, monkeypatch):
    begin = subprocess.Popen

    def begun(*args, **options):
        process = begin(*args, **options)
        time.sleep(1.5)  # as where a busy machine lets the writer rest
        return process

    monkeypatch.setattr(subprocess, "Popen", begun)
    with piped(tmp_path / "file") as pipe:
        pipe.write_bytes(b"all of it")
    assert (tmp_path / "file").read_bytes() == b"all of it"
