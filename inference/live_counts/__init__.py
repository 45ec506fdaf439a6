"""What has happened to an item until now, counted while a model serves (docs/live_counts.md)."""
