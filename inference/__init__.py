"""Serving: the TorchScript artefact, its export, scoring from it, and live counters."""

from typing import TYPE_CHECKING

from pinfm.embeddings.on_demand import names_on_demand

if TYPE_CHECKING:
    from pinfm.inference.artifact import Scorer, load
    from pinfm.inference.live_counts.live_counts import LiveCounts
    from pinfm.inference.memory import keep_freed_memory
else:
    _HOMES = {
        "LiveCounts": "pinfm.inference.live_counts.live_counts",
        "Scorer": "pinfm.inference.artifact",
        "keep_freed_memory": "pinfm.inference.memory",
        "load": "pinfm.inference.artifact",
    }
    __getattr__ = names_on_demand(__name__, _HOMES)

__all__ = ["LiveCounts", "Scorer", "keep_freed_memory", "load"]
