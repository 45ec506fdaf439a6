"""Id tables over ranks, by TorchRec: the planner, the collections, their first values."""
