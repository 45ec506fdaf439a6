"""Requests in: what an artefact takes, how pandas frames become it, and what every host checks of it."""
