"""What forms of interaction share."""
