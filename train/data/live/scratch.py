"""Counters on their way into a dataset: key by key they are counted, and bucket by bucket they are written."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pinfm.train.data.live.counts import Counts


class Scratch:
    """(counters, candidates) of each bucket, in files; zeros at first.

    Args:
        folder: for the files.
        num_counters: rows.
        num_candidates: columns, bucket by bucket.
    """

    def __init__(self, folder: Path, num_counters: int, num_candidates: Sequence[int]) -> None:
        self._shapes = [(num_counters, candidates) for candidates in num_candidates]
        self._files = [folder / f"{bucket}.int32" for bucket in range(len(num_candidates))]

    def __getitem__(self, bucket: int) -> Counts:
        """A bucket's counters, to be read and written.

        They are mapped for as long as the caller looks: pages that stay mapped count as the process's own.
        """
        shape, file = self._shapes[bucket], self._files[bucket]
        if not math.prod(shape):  # nothing can't be mapped
            return np.zeros(shape, dtype=np.int32)
        if not file.exists():
            file.touch()
            os.truncate(file, 4 * math.prod(shape))
        return np.memmap(file, dtype=np.int32, mode="r+", shape=shape)

    def drop(self, bucket: int) -> None:
        """Removes a bucket's file."""
        self._files[bucket].unlink(missing_ok=True)
