"""Artefacts that adapt histories: what they are given at export, what that changes, and how far events are trusted."""
