"""The memory of this process, as Linux tells it."""

import gc
from pathlib import Path

from pinfm.train.memory import give_back_freed_memory


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
