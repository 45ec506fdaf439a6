r"""What `pinfm.inference.LiveCounts` takes: events a second that it is fed, milliseconds a request, bytes a key.

    ./run python -m benchmarks.live_counts_serving --write

A made-up stream of impressions, clicks and saves, most of them of few items. It is fed in order of time, the clock
going on after each batch; then requests ask for candidates drawn evenly, most of which are not in the processor's
caches. Nobody calls `advance` before the second half of the requests: they count the marks of the second before them.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.parts.speed.performance import add_output_flags, median_row, put_out
from pinfm.inference import LiveCounts
from pinfm.model.live_counts import LiveCountsSpec

KINDS = ("impression", "click", "save")
KEYS = {"item": ("item",), "item, shop": ("item", "shop"), "item, shop, user.shop": ("item", "shop", "user.shop")}
START = 1_700_000_000
SHOPS, USERS = 10_000, 20_000
# Of the stream: a batch of 100,000 is a minute and a half.
MARKS_A_SECOND = 1_000


def main() -> None:
    """Measures, prints the tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=300, help="timed, of each kind")
    parser.add_argument("--batches", type=int, default=20, help="timed, of each size")
    parser.add_argument("--turns", type=int, default=3)
    add_output_flags(parser)
    args = parser.parse_args()
    feeding, asking, memory = [], [], []
    for name, of in KEYS.items():
        turns = [measured(of, seed, args) for seed in range(args.turns)]
        feeding.append(median_row([{"of": name, **turn["feeding"]} for turn in turns]))
        asking.append(median_row([{"of": name, **turn["asking"]} for turn in turns]))
        memory.append(median_row([{"of": name, **turn["memory"]} for turn in turns]))
    put_out(args, "live counts serving", {"feeding": feeding, "asking": asking, "memory": memory})


def measured(of: tuple[str, ...], seed: int, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The rows of one turn.

    Args:
        of: keys.
        seed: of the stream.
        args: the program's.
    """
    rng = np.random.default_rng(seed)
    counts = LiveCounts(LiveCountsSpec(of=of, kinds=KINDS))
    # Every item once, so that as many are kept.
    everything = stream(rng, args, np.arange(args.items), START)
    for start in range(0, args.items, 100_000):
        counts.add(everything[start : start + 100_000])
        counts.advance(int(everything["timestamp"].iloc[min(start + 100_000, args.items) - 1]) + 1)
    feeding = {
        f"batches of {size}, marks/s": fed(counts, batches_of(rng, args, size, counts.clock), size)
        for size in (10_000, 100_000)
    }
    asking = {"counters": len(counts.names)}
    for name, marks in (("", 0), (f", counting {MARKS_A_SECOND} marks first", MARKS_A_SECOND)):
        seconds = asked(counts, rng, args, marks)
        asking[f"p50, ms{name}"] = 1e3 * statistics.median(seconds)
        asking[f"p99, ms{name}"] = 1e3 * float(np.quantile(seconds, 0.99))
    stats = counts.stats()
    keys = sum(stats["keys"].values())
    memory = {"keys": keys, "MiB": stats["bytes"] / 2**20, "bytes a key": stats["bytes_per_key"]}
    return {"feeding": feeding, "asking": asking, "memory": memory}


def stream(rng: np.random.Generator, args: argparse.Namespace, items: Any, start: int) -> pd.DataFrame:
    """Marks of the items in order of time.

    Args:
        rng: draws the rest.
        args: the program's.
        items: of each mark.
        start: second of the first mark.
    """
    size = len(items)
    return pd.DataFrame(
        {
            "timestamp": start + np.arange(size) // MARKS_A_SECOND,
            "item_id": items * 7919,
            "user_id": rng.zipf(1.3, size) % USERS,
            "shop": 1 + items % SHOPS,
            "kind": np.array(KINDS, dtype=object)[rng.choice(3, size, p=[0.8, 0.15, 0.05])],
        }
    )


def batches_of(rng: np.random.Generator, args: argparse.Namespace, size: int, start: int) -> Iterator[pd.DataFrame]:
    """So many marks at a time."""
    for _ in range(args.batches):
        yield stream(rng, args, rng.zipf(1.2, size) % args.items, start)
        start += -(-size // MARKS_A_SECOND)


def fed(counts: LiveCounts, batches: Iterator[pd.DataFrame], size: int) -> float:
    """Marks a second of the median batch, counted, not only taken."""
    seconds = []
    for batch in batches:
        end = int(batch["timestamp"].iloc[-1]) + 1
        began = time.perf_counter()
        counts.add(batch)
        counts.advance(end)
        seconds.append(time.perf_counter() - began)
    return size / statistics.median(seconds)


def asked(counts: LiveCounts, rng: np.random.Generator, args: argparse.Namespace, marks: int) -> list[float]:
    """Seconds of each request, after so many marks that it has to count itself."""
    seconds = []
    for _ in range(args.requests):
        now = counts.clock
        if marks:
            counts.add(stream(rng, args, rng.zipf(1.2, marks) % args.items, now))
        items = rng.integers(args.items, size=args.candidates)
        shops = {"shop": 1 + items % SHOPS} if counts.spec.attributes() else None
        user = int(rng.zipf(1.3) % USERS) if counts.spec.counts_users() else None
        ids = items * 7919
        began = time.perf_counter()
        counts.at(now + 1, ids, user, shops)
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
