"""`--config auto`: settings chosen by what a dataset says of itself. `rules.py` is the page to read."""
