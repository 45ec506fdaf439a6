r"""Does the tower help? The quickstart under several seeds, summarised with its spread.

    ./run python -m benchmarks.quickstart --out runs/seeds --seeds 0 1 2 --write

A seed whose folder holds a finished quickstart is not run again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.parts.pages import RESULTS, write_results
from pinfm.train.comparison.report.markdown import mean_and_spread, table

METRICS = ("auc", "gauc", "ne", "hit3")
RANKERS = ("fused", "no_tower", "popularity")


def main() -> None:
    """Runs the seeds that are missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of the quickstarts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="write docs/results/quickstart.json and docs/results.md")
    args = parser.parse_args()
    reports = {seed: quickstart(args.out / f"seed-{seed}", seed) for seed in args.seeds}
    markdown = as_table(reports)
    print(markdown)
    if args.write:
        values = {"seeds": {seed: summary(report, args.out / f"seed-{seed}") for seed, report in reports.items()}}
        write_results(RESULTS, "quickstart", markdown, values)


def quickstart(out: Path, seed: int) -> dict[str, Any]:
    """The report of one seed's quickstart."""
    if not (out / "report.json").exists():
        command = [sys.executable, "-m", "pinfm.train.cli.main", "quickstart", "--out", str(out), "--seed", str(seed)]
        subprocess.run([*command, "--overwrite", "true"], check=True)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def as_table(reports: dict[int, dict[str, Any]]) -> str:
    """One row per task and ranker: each seed's AUC, and mean and standard deviation of every metric."""
    seeds = [f"AUC, seed {seed}" for seed in reports]
    heading = ["task", "ranker", *seeds, *(f"{metric} (mean ± sd)" for metric in METRICS)]
    lines = []
    for task in next(iter(reports.values()))["metrics"]["fused"]:
        for ranker in RANKERS:
            runs = [report["metrics"][ranker][task] for report in reports.values()]
            spreads = [mean_and_spread([run[metric] for run in runs if run[metric] is not None]) for metric in METRICS]
            lines.append([task, ranker, *(f"{run['auc']:.4f}" for run in runs), *spreads])
    return table(heading, lines)


def summary(report: dict[str, Any], out: Path) -> dict[str, Any]:
    """What the results page's JSON keeps of a quickstart: its figures, and the source tree that made it."""
    metrics = {
        ranker: {task: {metric: values[metric] for metric in METRICS} for task, values in tasks.items()}
        for ranker, tasks in report["metrics"].items()
    }
    git = json.loads((out / "fused" / "manifest.json").read_text())["git"]
    return {"git": git, "seconds": report["seconds"], "parity": report["parity"], "metrics": metrics}


if __name__ == "__main__":
    main()
