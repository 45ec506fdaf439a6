"""Keeps the processes of a run going: starts them together, and together again where one of them dies."""
