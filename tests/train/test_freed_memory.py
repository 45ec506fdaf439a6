"""Memory that the steps of a run have freed goes back to the system."""

import ctypes
import sys

import pytest
import runs

from pinfm.train.memory import give_back_freed_memory

# Blocks of 64 KiB, of which every 20th is kept: 190 MiB of gaps.
SCRIPT = """
from pathlib import Path

import torch

from pinfm.train.memory import give_back_freed_memory


def held():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024


blocks = [torch.ones(1 << 14) for _ in range(3200)]
kept = blocks[::20]
del blocks
before = held()
given_back = give_back_freed_memory()
print("held", before, held(), given_back)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="malloc_trim is glibc's, and this is another C library"
)
def test_gaps_between_what_is_kept_are_given_back(tmp_path):
    done = runs.command(sys.executable, "-c", SCRIPT, cwd=tmp_path)
    before, after, given_back = done.stdout.split("held ")[1].split()
    assert int(before) - int(after) > 150
    assert given_back == "True"


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not give_back_freed_memory()
