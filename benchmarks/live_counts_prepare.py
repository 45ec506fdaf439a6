r"""What do live counts cost `pinfm prepare`?

    ./run python -m benchmarks.live_counts_prepare --users 22000 88000 --write

Simulated worlds are prepared without counters and with them, in turns, each in a process of its own: seconds on the
clock, CPU seconds of all threads, the most memory that the process held, and what lies on the disk. About 113 events
and 300 impressions a user.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.speed.performance import add_output_flags, median_row, put_out
from pinfm.train.data.info import DatasetInfo

COUNTERS = {"none": (), "item": ("item",), "item, topic, user.topic": ("item", "topic", "user.topic")}


def main() -> None:
    """Prepares every world in turns, prints a table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/live_counts_prepare"), help="for the datasets")
    parser.add_argument("--users", type=int, nargs="+", default=[22_000], help="of the simulated worlds")
    parser.add_argument("--turns", type=int, default=3, help="a figure is the median of so many")
    parser.add_argument("--memory-gib", type=float, default=4.0, help="that DuckDB may use")
    add_output_flags(parser)
    args = parser.parse_args()
    rows = [row for users in args.users for row in rows_of(users, args)]
    put_out(args, "live counts prepare", {"prepare": rows})


def rows_of(users: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One line of the table for each choice of counters."""
    measured: dict[str, list[dict[str, Any]]] = {told: [] for told in COUNTERS}
    for _ in range(args.turns):
        for told, keys in COUNTERS.items():
            measured[told].append(cost_of(users, keys, args))
    medians = {told: median_row(costs) for told, costs in measured.items()}
    own = medians["none"]["seconds"]
    return [
        {
            "events": f"{cost['events']:,}",
            "impressions": f"{cost['impressions']:,}",
            "counters of": told,
            "seconds": cost["seconds"],
            "of its own time": cost["seconds"] / own,
            "CPU, s": cost["cpu"],
            "peak, MiB": cost["mib"],
            "on the disk, MiB": cost["disk"],
        }
        for told, cost in medians.items()
    ]


def cost_of(users: int, keys: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """What one run of `prepare` takes."""
    out = args.out / "dataset"
    shutil.rmtree(out, ignore_errors=True)
    report = args.out / "report.json"
    pinfm = Path(sys.executable).with_name("pinfm")
    command = [pinfm, "prepare", "simulate", "--num-users", users, "--out", out, "--report", report]
    command += ["--memory-gib", args.memory_gib, *(("--live-counts", ",".join(keys)) if keys else ())]
    # Through a small process: what the system tells of a child begins with what its parent held.
    worker = [sys.executable, "-m", "benchmarks.parts.workers.startup", *map(str, command)]
    used = json.loads(subprocess.check_output(worker, text=True))
    counts = DatasetInfo.read(out).counts
    return {
        "events": counts.events,
        "impressions": sum(counts.impressions.values()),
        "seconds": json.loads(report.read_text())["seconds"],
        "cpu": used["seconds"],
        "mib": used["mib"],
        "disk": sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20,
    }


if __name__ == "__main__":
    main()
