"""Requests of the tiny dataset, read once."""

from functools import cache
from pathlib import Path

import runs

from benchmarks.parts.robustness.requests import Requests, read_requests
from pinfm.train.data.dataset import PreparedDataset

MAX_HISTORY = runs.CONFIG.max_history


@cache
def tiny_requests(dataset: Path, most: int = 20, least_events: int = 3) -> Requests:
    return read_requests(PreparedDataset.open(dataset), "test", MAX_HISTORY, most, least_events)


def rows_of_request(requests: Requests, row: int) -> slice:
    lengths = requests.history.lengths
    return slice(int(lengths[:row].sum()), int(lengths[: row + 1].sum()))
