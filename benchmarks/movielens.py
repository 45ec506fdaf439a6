r"""The tower against the published sequence models: next item on MovieLens-1M, leave-one-out, full catalogue.

    uv run --extra cpu python -m benchmarks.movielens --data ../shared/data/ml-1m --out runs/movielens \
        --rows final --seeds 0 1 2 --report docs/results/movielens.json

Each row is `pinfm pretrain --config ml1m` with the flags of `benchmarks/movielens_rows.py`, in a process of its own
with its log in OUT/logs. A run that was interrupted goes on from its checkpoint; one that is finished is not run
again. The checkpoint is chosen on validation (NDCG@10), and its test figures are told.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.leave_one_out import TEST, VALIDATION, kept_items, last_items, without_last
from benchmarks.movielens_rows import PUBLISHED, ROWS, Row
from pinfm.model.run_folder import RunFolder
from pinfm.model.tower import SequenceTower
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.movielens import MovieLens
from pinfm.train.evaluation.retrieval import rank_catalogue
from pinfm.train.loader.ragged import IntArray
from pinfm.train.manifest import git_revision, hardware, versions

LEAST_RATINGS = 5
METRICS = ("hr@10", "ndcg@10")


def main() -> None:
    """Runs what is missing of the rows asked for, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of ML-1M")
    parser.add_argument("--out", type=Path, default=Path("runs/movielens"))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--report", type=Path, help="write the summary to this JSON file")
    args = parser.parse_args()
    if not (args.out / "prepared" / "dataset.json").exists():
        prepare(MovieLens(path=args.data), args.out / "prepared", PrepareOptions())
    everything = PreparedDataset.open(args.out / "prepared")
    catalogue = kept_items(everything, LEAST_RATINGS)
    for held_out in (TEST, VALIDATION):
        without_last(everything, catalogue, held_out, _training_data(args.out, held_out))
    wanted = [(ROWS[name], seed) for name in args.rows for seed in args.seeds]
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda run: train(args.out, *run), wanted))
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for row, seed in wanted:
        evaluations = evaluate(_run_folder(args.out, row, seed), everything, catalogue, row.max_history)
        results.setdefault(row.name, {})[seed] = chosen(evaluations, row)
    print(markdown(results))
    if args.report:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        args.report.write_text(json.dumps(summary(results), indent=2) + "\n")


def train(out: Path, row: Row, seed: int) -> None:
    """`pinfm pretrain` with the row's flags, unless it is finished."""
    run = _run_folder(out, row, seed)
    resume = ["--resume"] if (run / "manifest.json").exists() else []
    log = out / "logs" / f"{run.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    data = _training_data(out, TEST if row.trains_on_validation else VALIDATION)
    command = ["pretrain", "--config", "ml1m", "--data", str(data), "--out", str(run), "--seed", str(seed)]
    with log.open("a") as file:
        subprocess.run(
            [sys.executable, "-m", "pinfm.train.cli.main", *command, *row.flags, *resume],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=file,
            check=True,
        )


def evaluate(run: Path, everything: PreparedDataset, catalogue: IntArray, max_history: int) -> dict[str, Any]:
    """Validation and test figures of every checkpoint, kept in RUN/evaluation.json."""
    file = run / "evaluation.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for checkpoint in RunFolder.open(run).checkpoints():
        if checkpoint.name in found:
            continue
        tower = SequenceTower.from_run(run, checkpoint)
        found[checkpoint.name] = {
            split: rank_catalogue(tower, catalogue, last_items(everything, catalogue, place), max_history, ks=(10,))
            for split, place in (("validation", VALIDATION), ("test", TEST))
        }
        file.write_text(json.dumps(found, indent=2) + "\n")
    return found


def chosen(evaluations: dict[str, Any], row: Row) -> dict[str, Any]:
    """The checkpoint that validation chooses; the last one where validation was trained on."""
    name = max(evaluations)
    if not row.trains_on_validation:
        name = max(evaluations, key=lambda step: evaluations[step]["validation"]["ndcg@10"])
    return {"checkpoint": name, **evaluations[name]}


def markdown(results: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Published rows, then ours with mean and standard deviation over the seeds."""
    heading = ["model", "HR@10", "NDCG@10", "validation HR@10", "validation NDCG@10", "seeds", "what it is"]
    lines = [heading, ["---"] * len(heading)]
    lines += [[name, f"{hr:.4f}", f"{ndcg:.4f}", "", "", "", told] for name, hr, ndcg, told in PUBLISHED]
    for name, seeds in results.items():
        columns = [
            _mean_and_spread([run[split][metric] for run in seeds.values()])
            for split in ("test", "validation")
            for metric in METRICS
        ]
        lines.append([name, *columns, str(len(seeds)), ROWS[name].told])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(results: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """What the table is made of, and what it was made with."""
    return {
        "git": git_revision(),
        "hardware": hardware(),
        "versions": versions(),
        "rows": {name: {"flags": list(ROWS[name].flags), "seeds": seeds} for name, seeds in results.items()},
    }


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


def _run_folder(out: Path, row: Row, seed: int) -> Path:
    return out / "runs" / f"{row.name}-{seed}"


def _training_data(out: Path, held_out: int) -> Path:
    return out / f"without_last_{held_out}"


if __name__ == "__main__":
    main()
