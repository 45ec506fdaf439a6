"""Evaluations while a run trains: of its own sharded model, on a sample of the validation split."""
