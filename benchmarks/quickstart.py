r"""Does the tower help? The quickstart under several seeds, summarised with its spread.

    uv run --extra cpu python -m benchmarks.quickstart \
        --out runs/seeds --seeds 0 1 2 --report docs/results/quickstart.json

A seed whose folder holds a finished quickstart is not run again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from pinfm.train.manifest import git_revision, hardware, versions

METRICS = ("auc", "gauc", "ne", "hit3")
RANKERS = ("fused", "no_tower", "popularity")


def main() -> None:
    """Runs the seeds that are missing, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of the quickstarts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--report", type=Path, help="write the summary to this JSON file")
    args = parser.parse_args()
    reports = {seed: quickstart(args.out / f"seed-{seed}", seed) for seed in args.seeds}
    print(markdown(reports))
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps(summary(reports), indent=2) + "\n")


def quickstart(out: Path, seed: int) -> dict[str, Any]:
    """The report of one seed's quickstart."""
    if not (out / "report.json").exists():
        command = [sys.executable, "-m", "pinfm.train.cli.main", "quickstart", "--out", str(out), "--seed", str(seed)]
        subprocess.run([*command, "--overwrite", "true"], check=True)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def markdown(reports: dict[int, dict[str, Any]]) -> str:
    """One row per task and ranker: each seed's AUC, and mean and standard deviation of every metric."""
    seeds = [f"AUC, seed {seed}" for seed in reports]
    heading = ["task", "ranker", *seeds, *(f"{metric} (mean ± sd)" for metric in METRICS)]
    lines = [heading, ["---"] * len(heading)]
    first = next(iter(reports.values()))["metrics"]["fused"]
    for task in first:
        for ranker in RANKERS:
            runs = [report["metrics"][ranker][task] for report in reports.values()]
            aucs = [f"{run['auc']:.4f}" for run in runs]
            spreads = [_mean_and_spread([run[metric] for run in runs]) for metric in METRICS]
            lines.append([task, ranker, *aucs, *spreads])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(reports: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What the table is made of, and what it was made with."""
    return {
        "command": "python -m benchmarks.quickstart --seeds " + " ".join(str(seed) for seed in reports),
        "git": git_revision(),
        "hardware": hardware(),
        "versions": versions(),
        "seeds": {
            seed: {
                "seconds": report["seconds"],
                "parity": report["parity"],
                "metrics": {
                    ranker: {task: {m: values[m] for m in METRICS} for task, values in tasks.items()}
                    for ranker, tasks in report["metrics"].items()
                },
            }
            for seed, report in reports.items()
        },
    }


def _mean_and_spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {spread:.4f}"


if __name__ == "__main__":
    main()
