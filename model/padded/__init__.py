"""The stages of a model on padded blocks: no size and no branch depends on a number in a tensor."""
