"""From a prepared dataset to batches: buckets, deterministic streams, ragged gathers, hashing."""
