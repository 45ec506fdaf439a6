"""The multi-task ranker, its interactions, and the tower fused into it."""
