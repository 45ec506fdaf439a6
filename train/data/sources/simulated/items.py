"""How large a world is, its catalogue, and arrays that its parts share.

Shape suffixes: I items, T topics, K latent dimensions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HOUR = 3600
DAY = 86400
START = 1704067200  # 2024-01-01 00:00 UTC, the first day of every world
LATENT_DIM = 8
NUM_TOPICS = 16


@dataclass(frozen=True, kw_only=True)
class WorldSize:
    """How large a world is, and how fast.

    Args:
        num_users: users.
        num_items: items.
        num_days: days of activity.
        requests_per_user: mean number of requests of a user.
        candidates_per_request: items shown in a request, at most (repeats are not shown).
        content_dim: length of content vectors; 0 for none.
        item_life_hours: median half-life of the attention that an item gets; 0 for items that live for weeks.
        burst_scale: mean height of an item's bursts in log-odds of a click; of items that live hours.
        num_surfaces: where requests are made.
    """

    num_users: int
    num_items: int
    num_days: int
    requests_per_user: float
    candidates_per_request: int
    content_dim: int
    item_life_hours: float = 0.0
    burst_scale: float = 0.0
    num_surfaces: int = 3


class Items(NamedTuple):
    """The catalogue, ordered by topic so that a topic is a slice."""

    topic_I: Ints
    latent_IK: Reals
    quality_I: Reals
    created_I: Ints
    content: Reals  # (I, content_dim)


def unit(x: Reals) -> Reals:
    """Vectors scaled to length 1."""
    norm: Reals = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.maximum(norm, 1e-12)
