"""Text files in: their dialect, their records, and the proof that all of them were read."""
