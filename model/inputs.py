"""What the tower reads. Jagged tensors: one row per event or candidate, and lengths per request.

    U = 3 requests      history          candidates
    request 0           a b c            x y
    request 1           (empty)          z
    request 2           d                x
    lengths_U           [3, 0, 1]        [2, 1, 1]
    values              a b c d (T = 4)  x y z x (N = 4)

These are named tuples of tensors because TorchScript reads them as they are.
"""

from typing import NamedTuple, Optional

import torch
from torch import Tensor


class History(NamedTuple):
    """The events of U requests' users, oldest first.

    Args:
        lengths: (U,) int64, events of each request; zero is legal.
        item_id: (T,) int64.
        action: (T,) int64 codes, 0 = unknown.
        surface: (T,) int64 codes, 0 = unknown.
        timestamp: (T,) int64, Unix seconds, ascending within a request.
    """

    lengths: Tensor
    item_id: Tensor
    action: Tensor
    surface: Tensor
    timestamp: Tensor


class Candidates(NamedTuple):
    """The items to score for U requests.

    Args:
        lengths: (U,) int64, candidates of each request.
        request_timestamp: (U,) int64, Unix seconds, later than the request's history.
        item_id: (N,) int64.
        created_at: (N,) int64, Unix seconds.
        content: (N, K) float32; K = 0 where items have no content vector, a row of zeros where one item has none.
        surface: (U,) int64 codes of where each request is made, 0 = unknown, as `History.surface` has them. None leaves
            it out of the candidates' tokens: for a tower that was not trained on the surfaces of requests.
    """

    lengths: Tensor
    request_timestamp: Tensor
    item_id: Tensor
    created_at: Tensor
    content: Tensor
    surface: Optional[Tensor] = None  # noqa: UP045


class Reads(NamedTuple):
    """Which part of which history each of U requests sees, where requests share histories.

    Successive requests of one user see prefixes of the same events. Attention is causal, so one encoding serves them
    all: each reads as far as its own time.

        history 0:  a b c d e      request 0 sees a b c      -> history 0, visible 3
                                   request 1 sees a b c d e  -> history 0, visible 5

    Args:
        history: (U,) int64, ascending, the history of each request.
        visible: (U,) int64, how many of its oldest events the request sees.
    """

    history: Tensor
    visible: Tensor


def own_histories(lengths_U: Tensor) -> Reads:
    """Every request has a history of its own and sees all of it."""
    return Reads(torch.arange(lengths_U.size(0), device=lengths_U.device), lengths_U)
