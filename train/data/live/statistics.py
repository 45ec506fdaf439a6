"""Mean and standard deviation of counters, as dense features are scaled by."""

from collections.abc import Sequence

import numpy as np

from pinfm.model.schema import Feature
from pinfm.train.data.live.counts import Counts


class Statistics:
    """Sums over log(1 + count), of counters whose rows come part by part.

    Args:
        num_counters: how many counters there are.
    """

    def __init__(self, num_counters: int) -> None:
        self._sums = np.zeros((3, num_counters))

    def add(self, columns: Sequence[Counts]) -> None:
        """Takes the values of more rows, counter by counter."""
        for place, column in enumerate(columns):
            # Most counts are small: a value's logarithm is taken once.
            rows = np.bincount(column)
            values = np.flatnonzero(rows)
            logarithms, rows = np.log1p(values), rows[values]
            self._sums[:, place] += rows.sum(), rows @ logarithms, rows @ logarithms**2

    @classmethod
    def sum(cls, parts: Sequence["Statistics"]) -> "Statistics":
        """Those of all parts together."""
        whole = cls(parts[0]._sums.shape[1])
        whole._sums = np.sum([part._sums for part in parts], axis=0)
        return whole

    def features(self, names: Sequence[str]) -> tuple[Feature, ...]:
        """The counters with their statistics; the deviation of a constant one is 1."""
        rows, total, squares = self._sums
        mean = total / np.maximum(rows, 1)
        std = np.sqrt(np.maximum(squares / np.maximum(rows, 1) - mean**2, 0)).round(8)
        scales = zip(names, mean.round(8).tolist(), np.where(std > 0, std, 1.0).tolist(), strict=True)
        return tuple(Feature(name=n, kind="dense", scope="candidate", mean=m, std=s) for n, m, s in scales)
