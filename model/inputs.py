"""What the tower reads. Jagged tensors: one row per event or candidate, and lengths per request.

    U = 3 requests      history          candidates
    request 0           a b c            x y
    request 1           (empty)          z
    request 2           d                x
    lengths_U           [3, 0, 1]        [2, 1, 1]
    values              a b c d (T = 4)  x y z x (N = 4)

These are named tuples of tensors because TorchScript reads them as they are.
"""

from typing import NamedTuple

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
    """

    lengths: Tensor
    request_timestamp: Tensor
    item_id: Tensor
    created_at: Tensor
    content: Tensor
