"""Which instructions compiled code holds: it runs on processors that have them, and ends the process on others."""

import os
import platform
import shutil

import torch

from pinfm.embeddings.errors import UserError

# Ascending; PyTorch's names of what x86-64 processors have, and the level of the architecture that each one is.
LEVELS = {"DEFAULT": "x86-64", "AVX2": "x86-64-v3", "AVX512": "x86-64-v4"}


def capability() -> str:
    """This processor's, as PyTorch names it."""
    return str(torch.backends.cpu.get_cpu_capability())


def architecture(of: str) -> str | None:
    """The -march to compile with: `native` would take instructions that the capability doesn't speak of.

    Args:
        of: a capability.

    Returns:
        None where the compiler's own choice has to do, on other processors than x86-64.
    """
    return LEVELS.get(of) if platform.machine() == "x86_64" else None


def require_capability(compiled_for: str, what: str) -> None:
    """Raises UserError where this processor can't run what was compiled for another.

    Args:
        compiled_for: the capability.
        what: was compiled; for the message.
    """
    levels, here = list(LEVELS), capability()
    fits = compiled_for in levels and here in levels and levels.index(compiled_for) <= levels.index(here)
    if not fits and compiled_for != here:
        raise UserError(
            f"{what} was compiled for processors with {compiled_for}, this one has {here}; export the run again on a "
            'machine like this one, or load it with format="torchscript".'
        )


def require_compiler() -> None:
    """Raises UserError where there is no C++ compiler."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"--format aoti compiles with {compiler}, which is not there; install it, name another one in CXX, or "
            "export with --format torchscript."
        )
