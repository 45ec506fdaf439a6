"""The model's maths on one device: inputs, transformer, DCAT, tower, losses, cold start, interactions, ranker."""

from pinfm.model.inputs import Candidates, History
from pinfm.model.tower import SequenceTower

__all__ = ["Candidates", "History", "SequenceTower"]
