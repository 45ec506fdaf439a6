"""Files in: how they are read, what their columns are, and what is wrong with their rows."""
