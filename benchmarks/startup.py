r"""What do `pinfm --help`, the help of each verb, and a mistake cost before anything is done?

    ./run python -m benchmarks.startup --against ../earlier/.venv/bin/pinfm --write

Each line is a process of its own, and its CPU seconds are those of the system's accounts, which a busy machine hardly
changes. Two builds take turns, line by line.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.speed.performance import add_output_flags, median_row, put_out

VERBS = ("quickstart", "prepare", "pretrain", "finetune", "evaluate", "export", "score", "plan")
LINES = (
    "--version",
    "--help",
    *(f"{verb} --help" for verb in VERBS),
    "prepare events --help",
    "pretrain --colour red",
    "pretrain --data nowhere --out new",
    "prepare events nowhere.parquet --actions [click] --out new",
    "evaluate nowhere --data nowhere",
    "score nowhere nowhere.parquet --out new",
)


def main() -> None:
    """Starts every line in turns, prints a table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="the executable pinfm of another checkout's environment")
    parser.add_argument("--turns", type=int, default=3, help="a figure is the median of so many")
    add_output_flags(parser)
    args = parser.parse_args()
    builds = {"this": Path(sys.executable).with_name("pinfm")}
    if args.against is not None:
        builds["that"] = args.against.absolute()
    measured = turns_of(builds, args.turns)
    put_out(args, "startup", {"lines": [row_of(line, measured, i) for i, line in enumerate(LINES)]})


def turns_of(builds: Mapping[str, Path], turns: int) -> dict[str, list[dict[str, float]]]:
    """The median cost of every line, by build.

    Args:
        builds: name -> its executable.
        turns: how often each line is started, after once that does not count.
    """
    found: dict[str, list[list[dict[str, float]]]] = {name: [[] for _ in LINES] for name in builds}
    for turn in range(turns + 1):
        for i, line in enumerate(LINES):
            for name, pinfm in builds.items():
                cost = cost_of([str(pinfm), *line.split()])
                if turn:  # the first reads the libraries from the disk
                    found[name][i].append(cost)
    return {name: [median_row(costs) for costs in lines] for name, lines in found.items()}


def cost_of(command: Sequence[str]) -> dict[str, float]:
    """CPU seconds and MiB of one start."""
    # Through a small process: what the system tells of a child begins with what its parent held.
    worker = [sys.executable, "-m", "benchmarks.parts.workers.startup", *command]
    cost: dict[str, float] = json.loads(subprocess.check_output(worker, text=True))
    return cost


def row_of(line: str, measured: Mapping[str, Sequence[Mapping[str, float]]], index: int) -> dict[str, Any]:
    """One line of the table."""
    this = measured["this"][index]
    row: dict[str, Any] = {"pinfm": f"`{line}`", "CPU, s": this["seconds"], "peak, MiB": this["mib"]}
    if "that" in measured:
        that = measured["that"][index]
        ratio = that["seconds"] / this["seconds"]
        row |= {"before: CPU, s": that["seconds"], "before: peak, MiB": that["mib"], "ratio of CPU": ratio}
    return row


if __name__ == "__main__":
    main()
