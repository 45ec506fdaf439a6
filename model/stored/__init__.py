"""Runs on disk: their folders, and tables too large to hold."""
