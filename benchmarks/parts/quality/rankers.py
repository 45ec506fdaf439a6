"""Ways to train a ranker, compared under several seeds: what the benchmarks of fusion and of cold start share."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.kept import Results, add_write_flag
from benchmarks.parts.quality.runs import Runs, edition, in_parallel


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to train a ranker.

    Args:
        name: in the table and of the run's folder.
        told: what it is, for the reader of the table.
        pretrained: the pretraining run it starts from; None for none.
        flags: of `pinfm finetune`.
        group: rows that belong together, apart from the others.
    """

    name: str
    told: str
    pretrained: str | None = "all_losses"
    flags: tuple[str, ...] = ()
    group: str = ""


def add_flags(parser: argparse.ArgumentParser, rows: Sequence[Row], out: Path) -> None:
    """Adds the flags that say what to run and where."""
    names = [row.name for row in rows]
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--rows", nargs="+", choices=names, default=names, help="to run; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="to run")
    parser.add_argument("--split", choices=["validation", "test"], default="test", help="choose on validation")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    add_write_flag(parser)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run.

    Args:
        recipe: of all runs.
        pretrained: flags of `pinfm pretrain` by the name of the pretraining run.
        metrics: to keep of each task.
        by_age: keep them by item age too.
        finetune: flags of every `pinfm finetune`; a row's own come after them.
        seeds: which ones.
        split: evaluated on.
        jobs: runs at a time.
    """

    recipe: str
    pretrained: Mapping[str, tuple[object, ...]]
    metrics: Sequence[str]
    seeds: Sequence[int]
    split: str
    jobs: int
    finetune: tuple[str, ...] = ()
    by_age: bool = False


def settings_of(row: Row, plan: Plan, pretrained: Mapping[str, Sequence[str]]) -> list[str]:
    """What a row's figures depend on, beside the data.

    Args:
        row: which one.
        plan: how it is run.
        pretrained: flags of the pretraining runs, without paths.
    """
    start = [] if row.pretrained is None else ["--pretrained", row.pretrained, *pretrained[row.pretrained]]
    return [edition(plan.recipe), *plan.finetune, *row.flags, *start, "--split", plan.split]


def train_rankers(runs: Runs, dataset: Path, rows: Sequence[Row], plan: Plan) -> None:
    """Trains and evaluates rows under every seed; the rows of a seed share their pretraining runs.

    Args:
        runs: where.
        dataset: a prepared dataset.
        rows: which ones.
        plan: how.
    """

    def common(seed: int) -> list[object]:
        return ["--data", dataset, "--seed", seed]

    def pretrain(item: tuple[str, int]) -> None:
        name, seed = item
        words = [*common(seed), *plan.pretrained[name]]
        runs.train(f"pretrained-{name}-{seed}", "pretrain", plan.recipe, words)

    def finetune(item: tuple[Row, int]) -> None:
        row, seed = item
        words = [*common(seed), *plan.finetune, *row.flags]
        if row.pretrained is not None:
            words += ["--pretrained", runs.folder(f"pretrained-{row.pretrained}-{seed}")]
        runs.train(f"{row.name}-{seed}", "finetune", plan.recipe, words)
        runs.evaluate(f"{row.name}-{seed}", dataset, plan.split)

    needed = sorted({row.pretrained for row in rows if row.pretrained is not None})
    in_parallel(plan.jobs, pretrain, [(name, seed) for seed in plan.seeds for name in needed])
    in_parallel(plan.jobs, finetune, [(row, seed) for seed in plan.seeds for row in rows])


def evaluated(runs: Runs, dataset: Path, rows: Sequence[Row], plan: Plan) -> Results:
    """The metrics by task of what was ever evaluated below `runs`; a row without a figure is left out."""
    results: Results = {}
    for row in rows:
        for seed in runs.seeds(row.name, f"{plan.split}.json"):
            tasks = runs.evaluate(f"{row.name}-{seed}", dataset, plan.split)["metrics"]["model"]
            results.setdefault(row.name, {})[seed] = {task: _kept(metrics, plan) for task, metrics in tasks.items()}
    return results


def _kept(metrics: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    kept = {name: metrics[name] for name in plan.metrics}
    if plan.by_age:
        kept["by_age"] = {age: {name: of[name] for name in plan.metrics} for age, of in metrics["by_age"].items()}
    return kept
