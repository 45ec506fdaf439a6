"""The counters of one kind of key, such as all items or all pairs of user and shop, in bounded memory.

N  marks, or keys asked for     V  values that make a key     W  windows     K  kinds
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pinfm.inference.live_counts.keys import Int64s, KeyTable, Places
from pinfm.inference.live_counts.windows import WindowCounts

LEAST_ROWS = 1024
# Where there is no room for a key, this part of all keys leaves, so that they are seldom looked through.
EVICTED_PART = 16
MOST_AT_ONCE = 1 << 16


class KeyCounters:
    """Counters of keys. Row 0 belongs to no key and stays 0.

    Where a mark brings a new key and there are `max_keys`, the sixteenth of them that is longest without a mark leaves.

    Args:
        width: V.
        windows: their lengths.
        kinds: K.
        max_keys: kept at most.
    """

    def __init__(self, width: int, windows: Sequence[str], kinds: int, max_keys: int) -> None:
        self.max_keys = max_keys
        self.table = KeyTable(width)
        self.counts = WindowCounts(windows, kinds)
        self.last_R = np.zeros(0, dtype=np.int64)
        # Rows that were given back, and the first that nobody has had.
        self.free: Places = np.zeros(0, dtype=np.intp)
        self.next_row = 1
        self.evicted = 0
        self._grow(LEAST_ROWS)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self.table.nbytes + self.counts.nbytes + self.last_R.nbytes + self.free.nbytes

    def add(self, keys_NV: Int64s, kinds_N: Int64s, times_N: Int64s) -> None:
        """Counts marks from before the clock."""
        # A piece never brings more new keys than one eviction makes room for.
        size = max(1, min(MOST_AT_ONCE, self.max_keys // EVICTED_PART))
        for start in range(0, len(keys_NV), size):
            piece = slice(start, start + size)
            rows_N = self._rows_of(keys_NV[piece], times_N[piece])
            np.maximum.at(self.last_R, rows_N, times_N[piece])
            self.counts.add(rows_N, kinds_N[piece], times_N[piece])

    def read(self, keys_NV: Int64s) -> npt.NDArray[np.float32]:
        """(N, W K) counters as of the clock, window after window."""
        return self.counts.read(self.table.find(keys_NV))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that `restore` needs, as arrays."""
        keys, rows = self.table.entries()
        used = slice(self.next_row)
        rings = {f"ring{place}": ring[:, used] for place, ring in enumerate(self.counts.rings)}
        sums, last = self.counts.sums_RWK[used], self.last_R[used]
        return {"keys": keys, "rows": rows, "free": self.free, "last": last, "sums": sums, **rings}

    def restore(self, state: Mapping[str, npt.NDArray[Any]], clock: int) -> None:
        """Takes the place of new counters; see `state`."""
        self.table.insert(state["keys"], state["rows"])
        self.free, self.last_R, self.next_row = state["free"], state["last"], len(state["last"])
        self.counts.clock, self.counts.sums_RWK = clock, state["sums"]
        self.counts.rings = [state[f"ring{place}"] for place in range(len(self.counts.rings))]

    def _rows_of(self, keys_NV: Int64s, times_N: Int64s) -> Places:
        """The keys' rows; new keys get one."""
        rows_N = self.table.find(keys_NV)
        missing = rows_N == 0
        if not missing.any():
            return rows_N
        new = _distinct(keys_NV[missing])
        if len(self) + len(new) > self.max_keys:
            # What was marked just now stays, if anything does.
            np.maximum.at(self.last_R, rows_N[~missing], times_N[~missing])
            self._evict(max(1, self.max_keys // EVICTED_PART))
            rows_N = self.table.find(keys_NV)
            missing = rows_N == 0
            new = _distinct(keys_NV[missing])
        self.table.insert(new, self._take_rows(len(new)))
        rows_N[missing] = self.table.find(keys_NV[missing])
        return rows_N

    def _take_rows(self, count: int) -> Places:
        """Rows of zeros, given-back ones first."""
        reused = self.free[len(self.free) - min(count, len(self.free)) :]
        self.free = self.free[: len(self.free) - len(reused)]
        fresh = np.arange(self.next_row, self.next_row + count - len(reused))
        self.next_row += len(fresh)
        if self.next_row > len(self.last_R):
            self._grow(min(max(2 * len(self.last_R), self.next_row), self.max_keys + 1))
        self.last_R[reused] = 0
        return np.concatenate([reused, fresh])

    def _grow(self, rows: int) -> None:
        self.last_R = np.pad(self.last_R, (0, rows - len(self.last_R)))
        self.counts.grow(rows)

    def _evict(self, count: int) -> None:
        """Takes out the keys longest without a mark; of equals those of the lowest rows."""
        taken = np.ones(self.next_row, dtype=np.bool_)
        taken[self.free] = taken[0] = False
        (rows,) = taken.nonzero()
        last = self.last_R[rows]
        newest = np.partition(last, count - 1)[count - 1]
        older, equals = rows[last < newest], rows[last == newest]
        leaving = np.concatenate([older, equals[: count - len(older)]])
        self.table.remove(leaving, self.next_row)
        self.counts.clear(leaving)
        self.free = np.concatenate([self.free, leaving])
        self.evicted += len(leaving)


def _distinct(keys_NV: Int64s) -> Int64s:
    """Each key once."""
    if keys_NV.shape[1] == 1:
        return np.unique(keys_NV[:, 0])[:, None]
    keys_NV = keys_NV[np.lexsort(keys_NV.T)]
    differs = np.ones(len(keys_NV), dtype=np.bool_)
    differs[1:] = (keys_NV[1:] != keys_NV[:-1]).any(axis=1)
    return keys_NV[differs]
