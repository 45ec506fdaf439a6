"""How rows are split into training, validation and test."""
