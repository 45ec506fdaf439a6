"""Serving: the TorchScript artefact, its export, and scoring from it."""

from pinfm.inference.artifact import Scorer, load

__all__ = ["Scorer", "load"]
