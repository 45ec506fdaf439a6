"""Flags of every verb: paths, lists of names."""
