r"""Does a training step take longer, and how much memory, with more rows and with more ranks?

    ./run python -m benchmarks.embedding_scale --out runs/embedding_scale --write

Pretraining steps of 64 segments with a small tower, 8 sub-tables of 16 columns in fp32 with row-wise Adagrad, and ids
that are drawn evenly, so that the caches help as little as they can. Every measurement is a process of its own (or as
many as there are ranks), with one thread each unless told; the sizes take turns, and the table shows medians over the
turns. Memory is what building and filling the tables adds to a model, before any step.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.parts.quality.runs import prepared
from benchmarks.parts.speed.performance import add_output_flags, median_row, put_out
from pinfm.train.data.sources.simulate import Simulate

PAGE = Path("docs/scale.md")


def main() -> None:
    """Measures, prints two tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/embedding_scale"), help="where the dataset is prepared")
    parser.add_argument("--rows", type=int, nargs="+", default=[10**n for n in range(5, 9)], help="in total, on 1 rank")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rows-of-ranks", type=int, default=10**7, help="in total, where ranks are compared")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    add_output_flags(parser)
    parser.set_defaults(threads=1)
    args = parser.parse_args()
    data = prepared(Simulate(num_users=2000, num_items=20_000), args.out / "dataset")
    sizes = list(dict.fromkeys([(rows, 1) for rows in args.rows] + [(args.rows_of_ranks, n) for n in args.ranks]))
    turns: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for rows, ranks in tqdm(sizes * args.repeats, unit="run", disable=None):
        turns[rows, ranks].append(run_worker(data, rows, ranks, args))
    medians = {size: median_row(rows) for size, rows in turns.items()}
    by_rows = [medians[rows, 1] for rows in args.rows]
    by_ranks = [medians[args.rows_of_ranks, ranks] for ranks in args.ranks]
    put_out(args, "embedding_scale", {"rows": by_rows, "ranks": by_ranks}, PAGE)


def run_worker(data: Path, rows: int, ranks: int, args: argparse.Namespace) -> dict[str, Any]:
    """One measurement."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m"]
    command += ["benchmarks.parts.workers.embedding_steps", "--data", str(data), "--rows", str(rows)]
    command += ["--steps", str(args.steps), "--threads", str(args.threads)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
