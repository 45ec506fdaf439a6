"""The verbs that work on artefacts."""
