"""Serving: the TorchScript artefact, its export, and scoring from it."""

from pinfm.inference.artifact import Scorer, load
from pinfm.inference.memory import keep_freed_memory

__all__ = ["Scorer", "keep_freed_memory", "load"]
