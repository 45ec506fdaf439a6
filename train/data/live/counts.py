"""How many marks of a key lie before a moment, for many keys and moments at once.

E  marks     Q  queries     C  kinds
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pinfm.model.live_counts import ALL, GRID, LARGEST_COUNT, window_seconds
from pinfm.train.data.ragged import IntArray

Counts = npt.NDArray[np.int32]
# A place holds 31 bits of keys and 32 of seconds.
_SECONDS = (1 << 32) - 1


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
        # Key and time in one number, so that one search finds both.
        self._place_E = ((np.cumsum(changes) - 1) << 32) | (time_E - self._start)
        # Row e holds the marks of each kind before mark e, over all keys.
        self._before = np.zeros((len(time_E) + 1, num_kinds), dtype=np.int32)
        for kind in range(num_kinds):
            np.cumsum(kind_E == kind, out=self._before[1:, kind])

    def before(self, keys: Sequence[IntArray], time_Q: IntArray) -> "Before":
        """What lies strictly before some moments.

        Args:
            keys: (Q,) arrays, as many as the marks have.
            time_Q: Unix seconds.
        """
        return Before(self._place_E, self._before, self._start, self._place(self._rows(keys), time_Q))

    def _place(self, row_Q: IntArray, time_Q: IntArray) -> IntArray:
        """Where the first mark of a row at or after a time stands, or the first of the next row."""
        return (row_Q << 32) + np.maximum(time_Q - self._start, 0)

    def _rows(self, keys: Sequence[IntArray]) -> IntArray:
        """(Q,) the place of each key among those of the marks; -1 for one without marks."""
        row_K, row_Q = _codes(self._keys[0], keys[0])
        for next_K, next_Q in zip(self._keys[1:], keys[1:], strict=True):
            code_K, code_Q = _codes(next_K, next_Q)
            base = int(code_K.max(initial=0)) + 1
            both_Q = np.where((row_Q >= 0) & (code_Q >= 0), row_Q * base + code_Q, -1)
            row_K, row_Q = _codes(row_K * base + code_K, both_Q)
        return row_Q


class Before:
    """The marks of Q keys before a moment each; made by `Marks.before`.

    Many queries at once cost less each: in the order of the marks, neighbours read neighbouring memory.

    Args:
        place_E: key and time of each mark in one number, ascending.
        before: (E + 1, C), the marks of each kind before each.
        start: what times in places count from.
        place_Q: key and time of each query; negative for a key without marks.
    """

    def __init__(self, place_E: IntArray, before: Counts, start: int, place_Q: IntArray) -> None:
        self._place_E, self._before, self._start = place_E, before, start
        order = np.argsort(place_Q)
        self._back_Q = np.empty_like(order)
        self._back_Q[order] = np.arange(len(order))
        self._place_Q = place_Q[order]
        self._unknown = np.searchsorted(self._place_Q, 0)
        self._until = before.take(np.searchsorted(place_E, self._place_Q), axis=0)

    def within(self, window: str) -> Counts:
        """(Q, C): how many of each kind lie within a window, see `pinfm.model.live_counts`; several threads may ask."""
        counts = self._until - self._before.take(self._begin(window), axis=0)
        counts[: self._unknown] = 0
        as_asked: Counts = np.minimum(counts, LARGEST_COUNT, out=counts).take(self._back_Q, axis=0)
        return as_asked

    def _begin(self, window: str) -> IntArray:
        """The first mark of the window that ends at each place."""
        opens = self._place_Q & ~_SECONDS
        if window != ALL:
            step = window_seconds(window) // GRID
            time = (self._place_Q & _SECONDS) + self._start
            opens = np.maximum(self._place_Q - time + (time // step - GRID) * step, opens)
        # Many windows open at the same place of the grid.
        changes = np.flatnonzero(opens[1:] != opens[:-1]) + 1
        changes = np.append(0, changes)[: len(opens)]
        return np.repeat(np.searchsorted(self._place_E, opens[changes]), np.diff(changes, append=len(opens)))


def _codes(value_K: IntArray, value_Q: IntArray) -> tuple[IntArray, IntArray]:
    """The place of values among the distinct ones of K; -1 for one that is not among them."""
    distinct, code_K = np.unique(value_K, return_inverse=True)
    if not len(distinct):
        return code_K, np.full(len(value_Q), -1)
    least, greatest = int(distinct[0]), int(distinct[-1])
    if greatest - least <= 4 * (len(value_K) + len(value_Q)):
        # A table of places is an order of magnitude faster than a search for each.
        table = np.full(greatest - least + 2, -1)
        table[distinct - least] = np.arange(len(distinct))
        inside_Q = (value_Q >= least) & (value_Q <= greatest)
        return code_K, table[np.where(inside_Q, value_Q, greatest + 1) - least]
    place_Q = np.searchsorted(distinct, value_Q).clip(max=len(distinct) - 1)
    return code_K, np.where(distinct[place_Q] == value_Q, place_Q, -1)
