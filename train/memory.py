"""The memory of this process: what Linux tells of it, and what a long run does with what its steps have freed."""

import ctypes
import gc
from pathlib import Path


def give_back_freed_memory() -> bool:
    """Gives memory that nothing uses back to the system, as far as the C library can.

    Each step has a size of its own, and what it frees lies between what is kept, where glibc holds on to it: a run
    grows for hours, to several times what it needs.

    Returns:
        Whether there was any to give back; False also where the C library is not glibc.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return malloc_trim is not None and bool(malloc_trim(0))


def process_mib(field: str, file: str = "status") -> float:
    """One of the figures in /proc/self.

    Args:
        field: its name there, such as `VmHWM`.
        file: `status` or `smaps_rollup`.
    """
    lines = Path("/proc/self", file).read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(value) / 1024  # told in kB


def reset_peak() -> None:
    """Has `VmHWM` begin again from what is held now."""
    give_back_memory()
    Path("/proc/self/clear_refs").write_text("5")


def give_back_memory() -> None:
    """Collects garbage and returns freed memory to the system: glibc keeps it, and would answer from it unseen."""
    gc.collect()
    give_back_freed_memory()
