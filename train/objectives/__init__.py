"""What the two phases minimise."""
