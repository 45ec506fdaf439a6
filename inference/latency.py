"""What a request costs: one at a time, through exported models that take turns."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from pinfm.embeddings.errors import UserError, require_at_least, require_types
from pinfm.inference.artifact import Scorer, load
from pinfm.inference.requests.random import random_inputs

# TorchScript optimises as it runs, so the first requests of a loaded module are not timed.
WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class LatencyOptions:
    """What is timed.

    Args:
        candidates: of each request.
        history: events of each request; None for as many as the model reads.
        requests: timed of each model, over all rounds.
        rounds: turns that each model has, so that a slow moment of the machine falls on all of them.
    """

    candidates: int = 1000
    history: int | None = None
    requests: int = 100
    rounds: int = 5

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 1, candidates=self.candidates, requests=self.requests, rounds=self.rounds)
        if self.history is not None:
            require_at_least("", 0, history=self.history)
        if self.requests < self.rounds:
            raise UserError(f"requests ({self.requests}) must be at least rounds ({self.rounds}), one in each.")


def time_models(folders: Sequence[Path], options: LatencyOptions) -> dict[str, dict[str, Any]]:
    """Times models on random requests.

    A model is loaded anew for each of its turns: no more than one is in memory, and none always follows the same other.

    Args:
        folders: model folders.
        options: what is timed.

    Returns:
        Folder -> `p50_ms`, `p99_ms`, `candidates_per_s`, and `rounds_p50_ms`, one for each round.

    Raises:
        UserError: a folder is none of a model, or its model reads shorter histories.
    """
    rounds: dict[Path, list[list[float]]] = {folder: [] for folder in folders}
    each = -(-options.requests // options.rounds)
    with tqdm(total=options.rounds * len(rounds), unit="turn", disable=None) as bar:
        for _ in range(options.rounds):
            for folder, seconds in rounds.items():
                seconds.append(time_requests(load(folder), options, each))
                bar.update()
    return {str(folder): _row(seconds, options.candidates) for folder, seconds in rounds.items()}


@torch.no_grad()
def time_requests(scorer: Scorer, options: LatencyOptions, count: int) -> list[float]:
    """Seconds of each request."""
    events = scorer.max_history if options.history is None else options.history
    if events > scorer.max_history:
        raise UserError(f"{scorer.folder} reads {scorer.max_history} events of a history, not {events}.")
    seconds = []
    for i in range(count + WARM_UP):
        inputs = random_inputs(scorer.columns, events, options.candidates)
        start = time.perf_counter()
        scorer.module(inputs)
        if i >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return seconds


def percentiles(seconds: Sequence[float], candidates: int) -> dict[str, float]:
    """`p50_ms`, `p99_ms` and `candidates_per_s` of requests with so many candidates each."""
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99), "candidates_per_s": candidates / statistics.mean(seconds)}


def _row(rounds: list[list[float]], candidates: int) -> dict[str, Any]:
    everything = percentiles([second for seconds in rounds for second in seconds], candidates)
    return {**everything, "rounds_p50_ms": [1e3 * statistics.median(seconds) for seconds in rounds]}
