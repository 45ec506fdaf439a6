"""Star ratings of films."""
