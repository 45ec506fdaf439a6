"""What a run folder holds: its manifest, its checkpoints, real requests with its own answers."""
