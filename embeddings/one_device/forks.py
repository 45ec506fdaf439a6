"""What a process that was forked can't do: torch's threads stay in the one that started them."""

import os

import torch

from pinfm.embeddings.errors import UserError

# The process that torch has started its threads in, once something was scored.
_threads_of: int | None = None


def require_own_threads() -> None:
    """Refuses to compute in a fork of a process that has: its threads stayed there, and OpenMP would wait for them.

    Raises:
        UserError: this process is such a fork.
    """
    global _threads_of
    if torch.compiler.is_compiling():  # nothing is computed yet
        return
    if _threads_of not in (None, os.getpid()):
        raise UserError(
            f"process {os.getpid()} was forked from one that had scored, whose threads it lacks: scoring would hang; "
            "fork before the first score, load the model in each worker, or set OMP_NUM_THREADS=1."
        )
    if torch.get_num_threads() > 1:
        _threads_of = os.getpid()
