"""Counters of rows: a sum a window and kind, and the marks of each twelfth, so that they can leave it again.

R  rows     W  windows     K  kinds     N  marks, or rows asked for
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pinfm.inference.live_counts.keys import Int64s, Places
from pinfm.model.live_counts import ALL, GRID, LARGEST_COUNT, window_seconds

# The twelve twelfths that lie in a window whole, and the one that its clock stands in.
RING = GRID + 1


class WindowCounts:
    """Counters as of a clock.

    Args:
        windows: their lengths; see `window_seconds`.
        kinds: K.
    """

    def __init__(self, windows: Sequence[str], kinds: int) -> None:
        self.clock = 0
        self.steps = [0 if window == ALL else window_seconds(window) // GRID for window in windows]
        self.sums_RWK = np.zeros((0, len(windows), kinds), dtype=np.int64)
        # A twelfth counts to 2**32: three months of 500 marks a second.
        self.rings = [np.zeros((RING, 0, kinds), dtype=np.uint32) for step in self.steps if step]

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self.sums_RWK.nbytes + sum(ring.nbytes for ring in self.rings)

    def grow(self, rows: int) -> None:
        """Makes room for more rows, of zeros."""
        more = rows - len(self.sums_RWK)
        self.sums_RWK = np.pad(self.sums_RWK, ((0, more), (0, 0), (0, 0)))
        for place, ring in enumerate(self.rings):  # one by one: while it is copied, a ring is there twice
            self.rings[place] = np.pad(ring, ((0, 0), (0, more), (0, 0)))

    def advance(self, clock: int) -> None:
        """Takes the clock forward: what lies before the windows leaves them."""
        rings = iter(self.rings)
        for window, step in enumerate(self.steps):
            if not step:
                continue
            ring, before, now = next(rings), self.clock // step, clock // step
            for slot in range(max(before + 1, now - GRID), now + 1):
                # Where the slot's marks will be counted stand those of thirteen twelfths ago.
                left = ring[slot % RING]
                self.sums_RWK[:, window] -= left
                left[:] = 0
        self.clock = clock

    def add(self, rows_N: Places, kinds_N: Int64s, times_N: Int64s) -> None:
        """Counts marks from before the clock, in the windows that they still belong to."""
        _, windows, kinds = self.sums_RWK.shape
        sums, rings = self.sums_RWK.reshape(-1), iter(self.rings)
        codes_N = rows_N * kinds + kinds_N
        counters_N = rows_N * (windows * kinds) + kinds_N
        for window, step in enumerate(self.steps):
            if not step:
                np.add.at(sums, counters_N + window * kinds, np.int64(1))
                continue
            ring, slots_N = next(rings), times_N // step
            places_N = slots_N % RING * (ring.size // RING) + codes_N
            live_N = slots_N >= self.clock // step - GRID
            if not live_N.all():
                places_N, live_counters_N = places_N[live_N], counters_N[live_N]
            else:
                live_counters_N = counters_N
            np.add.at(ring.reshape(-1), places_N, np.uint32(1))
            np.add.at(sums, live_counters_N + window * kinds, np.int64(1))

    def clear(self, rows: Places) -> None:
        """Makes rows zero."""
        self.sums_RWK[rows] = 0
        for ring in self.rings:
            ring[:, rows] = 0

    def read(self, rows_N: Places) -> npt.NDArray[np.float32]:
        """(N, W K) counters, window after window."""
        counts = self.sums_RWK.reshape(len(self.sums_RWK), -1).take(rows_N, axis=0)  # see KeyTable.find
        return np.minimum(counts, LARGEST_COUNT).astype(np.float32)
