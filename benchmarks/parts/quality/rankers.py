"""Ways to train a ranker, compared under several seeds: what the benchmarks of fusion and of cold start share."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.kept import Results, add_write_flag
from benchmarks.parts.quality.runs import Command, Runs, edition, in_parallel
from pinfm.train.comparison.report.markdown import mean_and_spread, table


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


def parse(parser: argparse.ArgumentParser, in_folder: str, told: str) -> argparse.Namespace:
    """Reads the flags; --data is given with one of the --dataset choices alone.

    Args:
        parser: has both flags.
        in_folder: the choice whose files are in a folder of the user's.
        told: what that folder is.
    """
    args = parser.parse_args()
    if (args.dataset == in_folder) != (args.data is not None):
        parser.error(f"--data, {told}, goes with --dataset {in_folder} and with no other")
    return args


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


@dataclass(frozen=True)
class Trainer:
    """Trains and evaluates rows; the rows of a seed share their pretraining runs.

    Args:
        runs: where.
        dataset: a prepared dataset.
        plan: how.
    """

    runs: Runs
    dataset: Path
    plan: Plan

    def train(self, rows: Sequence[Row]) -> None:
        """Trains and evaluates these rows under every seed of the plan."""
        needed = sorted({row.pretrained for row in rows if row.pretrained is not None})
        seeds, jobs = self.plan.seeds, self.plan.jobs
        in_parallel(jobs, self._pretrain, [(name, seed) for seed in seeds for name in needed])
        in_parallel(jobs, self._finetune, [(row, seed) for seed in seeds for row in rows])

    def evaluated(self, rows: Sequence[Row]) -> Results:
        """The metrics by task of what was ever trained by the plan; a row without a figure is left out."""
        results: Results = {}
        for row in rows:
            for seed in self.runs.seeds(row.name, partial(self._finetuning, row)):
                if not self._starts_from_its_own(row, seed):
                    continue
                tasks = self.runs.evaluate(f"{row.name}-{seed}", self.dataset, self.plan.split)["metrics"]["model"]
                results.setdefault(row.name, {})[seed] = {
                    task: kept(metrics, self.plan) for task, metrics in tasks.items()
                }
        return results

    def _pretrain(self, run: tuple[str, int]) -> None:
        name, seed = run
        self.runs.train(f"pretrained-{name}-{seed}", self._pretraining(name, seed))

    def _finetune(self, run: tuple[Row, int]) -> None:
        row, seed = run
        self.runs.train(f"{row.name}-{seed}", self._finetuning(row, seed))
        self.runs.evaluate(f"{row.name}-{seed}", self.dataset, self.plan.split)

    def _pretraining(self, name: str, seed: int) -> Command:
        words = ("--data", self.dataset, "--seed", seed, *self.plan.pretrained[name])
        return Command("pretrain", self.plan.recipe, words)

    def _finetuning(self, row: Row, seed: int) -> Command:
        words: tuple[object, ...] = ("--data", self.dataset, "--seed", seed, *self.plan.finetune, *row.flags)
        if row.pretrained is not None:
            words += ("--pretrained", self.runs.folder(f"pretrained-{row.pretrained}-{seed}"))
        return Command("finetune", self.plan.recipe, words)

    def _starts_from_its_own(self, row: Row, seed: int) -> bool:
        """Whether the pretraining run that a row's run names is still the one of the plan."""
        name = row.pretrained
        if name is None or self.runs.made(f"pretrained-{name}-{seed}", self._pretraining(name, seed)):
            return True
        print(f"pretrained by other settings, so left out: {self.runs.folder(f'{row.name}-{seed}')}")
        return False


def task_tables(
    results: Results, rows: Sequence[Row], corner: str, columns_of: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> str:
    """One table a task, a line a row: mean and standard deviation over the seeds.

    Args:
        results: of `Trainer.evaluated`.
        rows: tell what each result is.
        corner: heads the first column, after the task.
        columns_of: a task's metrics of one run -> the figures by the heading of their column; None where undefined.
    """
    told = {row.name: row.told for row in rows}
    tasks = next(iter(next(iter(results.values())).values()))
    parts = []
    for task in tasks:
        lines = []
        for name, seeds in results.items():
            runs = [columns_of(run[task]) for run in seeds.values()]
            columns = {heading: [run[heading] for run in runs] for heading in runs[0]}
            lines.append(
                [told[name], *("" if None in column else mean_and_spread(column) for column in columns.values())]
            )
        parts.append(f"**{task}**\n\n" + table([f"{task}: {corner}", *columns], lines))
    return "\n\n".join(parts)


def kept(metrics: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Those of a task's metrics that the plan keeps."""
    values = {name: metrics[name] for name in plan.metrics}
    if plan.by_age:
        values["by_age"] = {age: {name: of[name] for name in plan.metrics} for age, of in metrics["by_age"].items()}
    return values
