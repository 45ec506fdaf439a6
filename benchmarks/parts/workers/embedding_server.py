"""What benchmarks/embedding_20b.py starts: a process that loads a model folder, answers, and looks ids up."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinfm.inference import load
from pinfm.train.memory import process_mib

# A billion items, the share of the r-th most frequent one proportional to r to the power of minus this.
ZIPF_EXPONENT, NUM_ITEMS = 1.05, 1_000_000_000
IDS = 256 + 1000
WARM_UP = 300


@torch.no_grad()
def main() -> None:
    """Prints when it answered and how long lookups took, then its memory once for each line that it reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("request", type=Path, help="its inputs, saved by torch")
    parser.add_argument("--lookups", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    module = load(args.model).module
    module(torch.load(args.request))
    answered_at = time.time()
    draws = np.random.default_rng(0)
    kinds = {"Zipf": lambda: zipf_ids(draws), "even": lambda: even_ids(draws)}
    rows = [lookup_row(name, module.item_vectors, ids, args.lookups) for name, ids in kinds.items()]
    print(json.dumps({"answered_at": answered_at, "lookups": rows}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(memory()), flush=True)


def zipf_ids(draws: np.random.Generator) -> Tensor:
    """Ids of a history and of candidates; an item's id says nothing of its rank, for the hash mixes it."""
    ranks = draws.zipf(ZIPF_EXPONENT, 3 * IDS)  # of which some three in ten are beyond the catalogue
    return torch.from_numpy(ranks[ranks <= NUM_ITEMS][:IDS])


def even_ids(draws: np.random.Generator) -> Tensor:
    """The same, all ids as likely."""
    return torch.from_numpy(draws.integers(-(2**63), 2**63, IDS))


def lookup_row(
    name: str, lookup: Callable[[Tensor], Tensor], ids: Callable[[], Tensor], repeats: int
) -> dict[str, Any]:
    """Latency of lookups once warm."""
    seconds = []
    for i in range(WARM_UP + repeats):
        ids_N = ids()
        start = time.perf_counter()
        lookup(ids_N)
        if i >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    p50, p99, most = (1e3 * float(np.percentile(seconds, q)) for q in (50, 99, 100))
    return {"ids": name, "a lookup": f"{IDS} ids x 8", "p50, ms": p50, "p99, ms": p99, "max, ms": most}


def memory() -> dict[str, float]:
    """GiB of this process: resident, and its share of it where pages that n processes map count 1/n."""
    resident, share = (process_mib(field, "smaps_rollup") / 1024 for field in ("Rss", "Pss"))
    return {"resident, GiB": resident, "share of shared pages, GiB": share}


if __name__ == "__main__":
    main()
