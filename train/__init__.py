"""Training: data, recipes, loops, metrics, checkpoints, evaluation and the command line."""
