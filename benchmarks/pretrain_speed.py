r"""How many segments a second does pretraining take on a sparse log of next items, a few events a user?

    ./run python -m benchmarks.pretrain_speed --against ../earlier/.venv/bin/python --write

A made-up log of the shape of Amazon's Toys (19,412 users with 6 events in the middle and 550 at most, 11,924 items), or
one of --log, is prepared by each build once. Then each trains in a process of its own, in turns: an epoch that does not
count, and then --epochs of which every step does. CPU seconds are the process's own, which a busy machine changes less
than the clock.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.parts.speed.performance import add_output_flags, median_row, put_out

USERS, ITEMS, LONGEST = 19_412, 11_924, 550
HASHED = ("--item_table.num_hashes", "4", "--item_table.rows", "20000", "--item_table.dim", "16")
OWN_ROWS = ("--item_table.num_hashes", "1", "--item_table.rows", "20000", "--item_table.dim", "64")
SAMPLED = ("--pretrain.negatives", "sampled", "--pretrain.num_sampled", "256")
MANAGED = ("--item_table.ids", "managed", "--managed_ids.min_count", "1", "--managed_ids.update_steps", "1")
SETTINGS = {
    "256 sampled, 4 hashed rows of 16": (*SAMPLED, *HASHED),
    "256 sampled, 1 hashed row of 64": (*SAMPLED, *OWN_ROWS),
    "256 sampled, managed row of 64": (*SAMPLED, *OWN_ROWS, *MANAGED),
    "in batch, 4 hashed rows of 16": ("--pretrain.negatives", "in_batch", *HASHED),
    "catalogue, 4 hashed rows of 16": ("--pretrain.negatives", "catalogue", *HASHED),
}


def main() -> None:
    """Measures every setting in turns, prints a table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain_speed"), help="for the log and the dataset")
    parser.add_argument("--log", type=Path, help="another log, order only: user_id and item_id, in Parquet or CSV")
    parser.add_argument("--against", type=Path, help="the python of another checkout's environment")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--epochs", type=int, default=1, help="that count")
    parser.add_argument("--turns", type=int, default=3, help="a figure is the median of so many")
    add_output_flags(parser)
    args = parser.parse_args()
    builds = {"this": Path(sys.executable)} | ({"that": args.against.absolute()} if args.against else {})
    data = {build: dataset(python, args.log, args.out / build) for build, python in builds.items()}
    rows = []
    for name in args.settings:
        found: dict[str, list[dict[str, float]]] = {build: [] for build in builds}
        for _ in range(args.turns):
            for build, python in builds.items():
                found[build].append(speed_of(python, data[build], args.epochs, args.threads, SETTINGS[name]))
        rows.append(row_of(name, {build: median_row(turns) for build, turns in found.items()}))
    put_out(args, "pretrain speed", {"settings": rows})


def sparse_log(seed: int = 0) -> pd.DataFrame:
    """Events of users, oldest first: five or more each, log-normal beyond, items by Zipf's law.

    Args:
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    lengths = np.minimum(5 + rng.lognormal(0.5, 1.25, USERS).astype(np.int64), LONGEST)
    popularity = 1.0 / (np.arange(ITEMS) + 20.0) ** 0.8
    item_id = 1 + rng.choice(ITEMS, size=lengths.sum(), p=popularity / popularity.sum())
    return pd.DataFrame({"user_id": np.repeat(np.arange(1, USERS + 1), lengths), "item_id": item_id})


def dataset(python: Path, log: Path | None, out: Path) -> Path:
    """The log as a build prepares it, for no build reads the datasets of later ones; made where there is none."""
    data = out / ("made_up" if log is None else log.stem)
    if not data.exists():
        out.mkdir(parents=True, exist_ok=True)
        if log is None:
            log = out / "made_up.parquet"
            sparse_log().to_parquet(log)
        pinfm = python.with_name("pinfm")
        flags = ("--action", "click", "--order-only", "user", "--split-by", "leave-one-out")
        subprocess.check_call([pinfm, "prepare", "events", log, *flags, "--out", data], stdout=subprocess.DEVNULL)
    return data


def speed_of(python: Path, data: Path, epochs: int, threads: int, flags: tuple[str, ...]) -> dict[str, float]:
    """Segments a second of one build in a process of its own, by the clock and by CPU seconds."""
    worker = Path(__file__).parent / "parts" / "workers" / "pretrain_speed.py"
    told = subprocess.check_output(
        [python, worker, str(epochs), "--data", str(data), *flags],
        text=True,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def row_of(name: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One line of the table."""
    row: dict[str, Any] = {"negatives, item table": name}
    for build, told in (("", found["this"]), ("before: ", found.get("that"))):
        if told is not None:
            row |= {f"{build}segments/s": told["per_s"], f"{build}segments/CPU s": told["per_cpu_s"]}
    if "that" in found:
        row |= {"ratio": found["this"]["per_s"] / found["that"]["per_s"]}
        row |= {"ratio of CPU": found["this"]["per_cpu_s"] / found["that"]["per_cpu_s"]}
    return row


if __name__ == "__main__":
    main()
