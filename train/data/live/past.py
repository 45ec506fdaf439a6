"""Point-in-time counts of rows that come in any order and piece by piece: what baselines of `evaluate` read.

Beside it `counts.py` counts for features: a host has to keep those, so its windows begin on a grid and a count stops
where float32 does, and it wants the marks of a key sorted and all at once. Here windows slide by the second, sums have
no end, and what is read a bucket of users after the other adds up.

Legend: N rows that happened, Q questions, W windows, K values of a row.
"""

from collections.abc import Sequence

import numpy as np

from pinfm.train.data.ragged import IntArray


def counts_before(
    code_N: IntArray,
    time_N: IntArray,
    code_Q: IntArray,
    time_Q: IntArray,
    *,
    windows_seconds: Sequence[int | None] = (None,),
    values_NK: IntArray | None = None,
) -> IntArray:
    """Sums the rows of a code that lie strictly before a moment.

        code 3   rows at  t=10 t=40 t=40 t=70        question (3, 70), window 30 -> the two at 40
                                                     question (3, 70), no window -> those at 10, 40 and 40
                                                     question (3, 40), window 30 -> the one at 10

    The sums of rows that are read piece by piece (such as a bucket after the other) add up to those of all.

    Args:
        code_N: (N,) from 0 on: the item, or whatever is counted by, in any order.
        time_N: (N,) whole seconds.
        code_Q: (Q,) which rows are asked for; ascending codes, and ascending times within one, are found fastest.
        time_Q: (Q,) the moment of each question; a row of that second is not before it.
        windows_seconds: a row counts from its own second up to so many seconds later, that second included; None for
            always.
        values_NK: (N, K) whole numbers to be summed; None counts rows, with K = 1.

    Returns:
        (Q, W, K) int64.

    Example:
        >>> code, time = np.array([3, 3, 3]), np.array([10, 40, 70])
        >>> counts_before(code, time, np.array([3]), np.array([70]), windows_seconds=(30, None))[:, :, 0]
        array([[1, 2]])
    """
    num_values = 1 if values_NK is None else values_NK.shape[1]
    if not len(code_N):
        return np.zeros((len(code_Q), len(windows_seconds), num_values), dtype=np.int64)
    first, last = int(time_N.min()), int(time_N.max())
    moments = last - first + 2

    def keys(code: IntArray, time: IntArray) -> IntArray:
        # One sortable number for both; of moments outside the rows' it matters only on which side they lie.
        return code * moments + (np.clip(time, first, last + 1) - first)

    key_N = keys(code_N, time_N)
    if values_NK is None:
        key_N.sort()
    else:
        order = np.argsort(key_N, kind="stable")
        key_N, values_NK = key_N[order], values_NK[order]
        total_NK = np.concatenate([np.zeros((1, num_values), dtype=np.int64), np.cumsum(values_NK, axis=0)])
    end_Q = np.searchsorted(key_N, keys(code_Q, time_Q))
    sums = []
    for window in windows_seconds:
        opens_Q = np.full_like(time_Q, first) if window is None else time_Q - window
        start_Q = np.searchsorted(key_N, keys(code_Q, opens_Q))
        sums.append((end_Q - start_Q)[:, None] if values_NK is None else total_NK[end_Q] - total_NK[start_Q])
    return np.stack(sums, axis=1)
