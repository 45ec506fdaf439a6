"""The model's maths on one device: inputs, transformer, DCAT, tower, losses, cold start, interactions, ranker."""

from typing import TYPE_CHECKING

from pinfm.embeddings.on_demand import names_on_demand

if TYPE_CHECKING:
    from pinfm.model.inputs import Candidates, History
    from pinfm.model.tower import SequenceTower
else:
    _HOMES = {
        "Candidates": "pinfm.model.inputs",
        "History": "pinfm.model.inputs",
        "SequenceTower": "pinfm.model.tower",
    }
    __getattr__ = names_on_demand(__name__, _HOMES)

__all__ = ["Candidates", "History", "SequenceTower"]
