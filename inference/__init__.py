"""Serving: the TorchScript artefact, its export, and scoring from it."""

from typing import TYPE_CHECKING

from pinfm.embeddings.on_demand import names_on_demand

if TYPE_CHECKING:
    from pinfm.inference.artifact import Scorer, load
    from pinfm.inference.memory import keep_freed_memory
else:
    _HOMES = {
        "Scorer": "pinfm.inference.artifact",
        "keep_freed_memory": "pinfm.inference.memory",
        "load": "pinfm.inference.artifact",
    }
    __getattr__ = names_on_demand(__name__, _HOMES)

__all__ = ["Scorer", "keep_freed_memory", "load"]
