"""Catalogues to time a search in, and users who look for something in them.

Vectors of length 1 about centres, as items stand about what users come for: a centre's share falls as 1 / its place,
items lie at a cosine of 0.8 to their centre and users at 0.7 to an item. Uniform noise is harder for lists and flatters
exact search as little as anything else: it does not look at the values.
"""

import numpy as np
import torch
from torch import Tensor

from pinfm.inference.index.build import int8_rows
from pinfm.inference.index.search import ExactIndex


def clustered(items: int, width: int, centres: int = 2000, seed: int = 0) -> Tensor:
    """(items, width) float32 vectors of length 1."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(centres, width, generator=generator))
    share = torch.arange(1, centres + 1).double().reciprocal()
    of_items = torch.multinomial(share, items, replacement=True, generator=generator)
    vectors = torch.empty(items, width)
    for start in range(0, items, 1 << 18):
        block = of_items[start : start + (1 << 18)]
        vectors[start : start + len(block)] = turned(directions[block], 0.8, generator)
    return vectors


def turned(vectors: Tensor, cosine: float, generator: torch.Generator) -> Tensor:
    """Vectors of length 1, turned in a random direction so that about this cosine is left."""
    away = torch.nn.functional.normalize(torch.randn(vectors.shape, generator=generator))
    return torch.nn.functional.normalize(cosine * vectors + (1 - cosine**2) ** 0.5 * away)


def users_of(vectors: Tensor, users: int, seed: int = 1) -> Tensor:
    """(users, width), each at a cosine of 0.7 to an item."""
    generator = torch.Generator().manual_seed(seed)
    return turned(vectors[torch.randint(len(vectors), (users,), generator=generator)], 0.7, generator)


def exact_index(vectors: Tensor, ids: Tensor | None = None) -> torch.jit.ScriptModule:
    """The search, scripted as it is served."""
    index = torch.jit.script(ExactIndex([], vectors.mean(0), 0).eval())
    rows, scales = int8_rows(vectors)
    index.place("rows", rows)
    index.place("scales", scales[:, None])
    index.place("ids", (torch.arange(len(vectors)) if ids is None else ids)[:, None])
    return index


def percentile(seconds: list[float], share: float) -> float:
    """Milliseconds."""
    return 1e3 * float(np.percentile(seconds, share))
