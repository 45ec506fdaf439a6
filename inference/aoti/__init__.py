"""The artefact after TorchScript: the dense model compiled ahead of time, at bounded shapes (docs/aoti.md)."""
