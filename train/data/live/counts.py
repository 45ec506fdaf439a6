"""How many marks of a key lie before a moment, for many keys and moments at once.

E  marks     Q  queries     C  kinds     W  windows
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pinfm.model.live_counts import ALL, GRID, LARGEST_COUNT, window_seconds
from pinfm.train.data.ragged import IntArray

Counts = npt.NDArray[np.int32]


class Marks:
    """Marks of keys, to be counted before any moment.

    Args:
        keys: one or two (E,) arrays that together are the key; marks ascend in them, then in time.
        time_E: Unix seconds.
        kind_E: which of the C kinds each is.
        num_kinds: C.
    """

    def __init__(self, keys: Sequence[IntArray], time_E: IntArray, kind_E: IntArray, num_kinds: int) -> None:
        changes = np.zeros(len(time_E), dtype=np.bool_)
        changes[:1] = True
        for key_E in keys:
            changes[1:] |= key_E[1:] != key_E[:-1]
        self._first = np.flatnonzero(changes)
        self._keys = [key_E[self._first] for key_E in keys]
        self._start = int(time_E.min()) if len(time_E) else 0
        # Key and time in one number, so that one search finds both: 31 bits of keys, 32 of seconds.
        self._place_E = ((np.cumsum(changes) - 1) << 32) | (time_E - self._start)
        # Row e holds the marks of each kind before mark e, over all keys.
        self._before = np.zeros((len(time_E) + 1, num_kinds), dtype=np.int32)
        for kind in range(num_kinds):
            np.cumsum(kind_E == kind, out=self._before[1:, kind])

    def count(self, keys: Sequence[IntArray], time_Q: IntArray, windows: Sequence[str]) -> Counts:
        """The marks of each query's key strictly before its time.

        Args:
            keys: (Q,) arrays, as many as the marks have.
            time_Q: Unix seconds.
            windows: how far back each count reaches; see `pinfm.model.live_counts`.

        Returns:
            (Q, W * C): window after window, in a window each kind; 0 for a key without marks.
        """
        row_Q = self._rows(keys)
        place_Q = self._place(row_Q, time_Q)
        # In the order of the marks, neighbouring queries read neighbouring memory.
        order = np.argsort(place_Q)
        order = order[np.searchsorted(place_Q[order], 0) :]
        row, time = row_Q[order], time_Q[order]
        end = np.searchsorted(self._place_E, place_Q[order])
        counts = np.zeros((len(time_Q), len(windows) * self._before.shape[1]), dtype=np.int32)
        if len(order):
            parts = [self._before[end] - self._before[self._begin(row, time, window)] for window in windows]
            counts[order] = np.minimum(np.concatenate(parts, axis=1), LARGEST_COUNT)
        return counts

    def _begin(self, row: IntArray, time: IntArray, window: str) -> IntArray:
        if window == ALL:
            return self._first[row]
        step = window_seconds(window) // GRID
        begin: IntArray = np.searchsorted(self._place_E, self._place(row, (time // step - GRID) * step))
        return begin

    def _place(self, row: IntArray, time: IntArray) -> IntArray:
        """Where the first mark of a row at or after a time stands, or the first of the next row; row -1 comes first."""
        return (row << 32) | np.clip(time - self._start, 0, (1 << 32) - 1)

    def _rows(self, keys: Sequence[IntArray]) -> IntArray:
        """(Q,) the place of each key among those of the marks; -1 for one without marks."""
        row_K, row_Q = _codes(self._keys[0], keys[0])
        for next_K, next_Q in zip(self._keys[1:], keys[1:], strict=True):
            code_K, code_Q = _codes(next_K, next_Q)
            base = int(code_K.max(initial=0)) + 1
            both_Q = np.where((row_Q >= 0) & (code_Q >= 0), row_Q * base + code_Q, -1)
            row_K, row_Q = _codes(row_K * base + code_K, both_Q)
        return row_Q


def _codes(value_K: IntArray, value_Q: IntArray) -> tuple[IntArray, IntArray]:
    """The place of values among the distinct ones of K; -1 for one that is not among them."""
    distinct, code_K = np.unique(value_K, return_inverse=True)
    if not len(distinct):
        return code_K, np.full(len(value_Q), -1)
    place_Q = np.searchsorted(distinct, value_Q).clip(max=len(distinct) - 1)
    return code_K, np.where(distinct[place_Q] == value_Q, place_Q, -1)
