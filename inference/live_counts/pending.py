"""Marks that the clock has not passed yet, in order of time."""

from itertools import pairwise

import numpy as np

from pinfm.inference.live_counts.keys import Int64s

# Runs up to this length are merged, so that there are few of them and no merge takes long.
LONGEST_MERGED = 1 << 18


class Pending:
    """A few runs of marks, each in order of time. Marks of one second stay in the order in which they came.

    Args:
        columns: C numbers of a mark, of which the first is its time.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.runs: list[Int64s] = []

    def __len__(self) -> int:
        return sum(run.shape[1] for run in self.runs)

    @property
    def nbytes(self) -> int:
        """Of memory, marks included that were taken but not given back yet."""
        return sum((run if run.base is None else run.base).nbytes for run in self.runs)

    def all(self) -> Int64s:
        """(C, N) all marks; put into a new object, they are taken in the order in which they would be here."""
        return np.concatenate([self._none(), *self.runs], axis=1)

    def put(self, marks_CN: Int64s) -> None:
        """Adds marks in any order."""
        if marks_CN.shape[1]:
            self.runs.append(_in_order(marks_CN))
        while any(_are_merged(*pair) for pair in list(pairwise(self.runs))[-1:]):
            last = self.runs.pop()
            self.runs[-1] = _in_order(np.concatenate([self.runs[-1], last], axis=1))

    def take(self, before: int) -> Int64s:
        """Removes and returns (C, N) the marks of the seconds before one, in order of time."""
        taken, left = [self._none()], []
        for run in self.runs:
            # Most runs have nothing to give to most requests.
            end = int(run[0].searchsorted(before)) if run[0, 0] < before else 0
            if end:
                taken.append(run[:, :end])
                run = _kept(run, end)
            if run.shape[1]:
                left.append(run)
        self.runs = left
        marks = np.concatenate(taken, axis=1)
        return _in_order(marks) if len(taken) > 2 else marks

    def _none(self) -> Int64s:
        return np.zeros((self.columns, 0), dtype=np.int64)


def _are_merged(older: Int64s, newer: Int64s) -> bool:
    lengths = older.shape[1], newer.shape[1]
    return lengths[0] < 2 * lengths[1] and sum(lengths) <= LONGEST_MERGED


def _in_order(marks_CN: Int64s) -> Int64s:
    times = marks_CN[0]
    if (times[1:] >= times[:-1]).all():
        return marks_CN
    return marks_CN[:, times.argsort(kind="stable")]


def _kept(run: Int64s, start: int) -> Int64s:
    """The rest of a run; it takes its own memory once the whole run's is mostly of marks that are gone."""
    whole = run if run.base is None else run.base
    rest = run[:, start:]
    return rest.copy() if 2 * rest.shape[1] < whole.size // len(run) else rest
