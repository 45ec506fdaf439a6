"""Serving: the TorchScript artefact, its export, and scoring from it."""
