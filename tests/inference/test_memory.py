"""Memory that a request leaves is there for the next one."""

import ctypes
import sys

import pytest
import runs

from pinfm.inference import keep_freed_memory

# Three blocks of 24 MiB, as the layers of a request take and leave them; and the page faults of a late such turn: the
# heap grows for some, until what is freed is as large as what is asked for and its alignment.
# glibc moves the size from which it gives blocks back, by the luck of what was freed before, until somebody sets it.
SCRIPT = """
import ctypes
import resource
import torch
from pinfm.inference import keep_freed_memory
from pinfm.inference.memory import M_MMAP_THRESHOLD


def turn():
    return len([torch.ones(24 << 18) for _ in range(3)])


def faults():
    for _ in range(20):
        turn()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    turn()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 17)
given_back = faults()
assert keep_freed_memory()
print("faults", given_back, faults())
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="mallopt is glibc's, and this is another C library"
)
def test_the_next_request_takes_no_page_faults(tmp_path):
    done = runs.command(sys.executable, "-c", SCRIPT, cwd=tmp_path)
    given_back, kept = map(int, done.stdout.split("faults ")[1].split())
    # 18,000 and none, of pages of 4 KiB; where the system deals out larger ones, fewer.
    assert given_back > 10 * kept


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()


def test_an_older_glibc_takes_smaller_blocks(monkeypatch):
    asked = []

    class OldLibrary:
        def mallopt(self, which, size):
            asked.append((which, size))
            return int(which != -3 or size <= 1 << 25)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: OldLibrary())
    assert keep_freed_memory()
    assert asked == [(-3, 1 << 30), (-3, 1 << 25), (-1, 1 << 30)]
