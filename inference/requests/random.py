"""Valid requests that nobody made, to time a model with."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pinfm.inference.requests.columns import Column

# Seconds; in the year 2033, after any training data and before the end of what hosts take for seconds.
NOW = 2_000_000_000
FOUR_MONTHS = 10**7


def random_inputs(columns: Sequence[Column], events: int, candidates: int) -> dict[str, Tensor]:
    """The inputs of one request. Its ids have not been seen before, so that lookups miss the caches.

    Args:
        columns: the model's inputs.
        events: of the history.
        candidates: to score.

    Returns:
        Name -> tensor, as the exported module takes them.
    """
    sizes = {"request": 1, "history": events, "candidate": candidates}
    inputs = {column.name: _values(column, sizes[column.scope]) for column in columns}
    ago = {"history_timestamp": events, "candidate_created_at": candidates}
    moments = {name: NOW - torch.randint(1, FOUR_MONTHS, (size,)) for name, size in ago.items()}
    return {
        **inputs,
        "request_timestamp": torch.tensor([NOW]),
        "history_timestamp": moments["history_timestamp"].sort().values,
        "candidate_created_at": moments["candidate_created_at"],
        "history_lengths": torch.tensor([events]),
        "candidate_lengths": torch.tensor([candidates]),
    }


def _values(column: Column, size: int) -> Tensor:
    if column.dtype == "float32":
        return torch.rand(size) if column.width is None else torch.rand(size, column.width)
    if column.vocabulary is None:
        return torch.empty(size, dtype=torch.int64).random_(-(2**63), None)
    # 0 is the unknown name, and the only code of an empty vocabulary.
    first, last = min(1, len(column.vocabulary)), len(column.vocabulary)
    return torch.randint(first, last + 1, (size,))
