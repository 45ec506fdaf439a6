"""Counters of what has happened to an item until each request: `prepare --live-counts`."""
