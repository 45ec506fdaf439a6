r"""Does pretraining pay? Rankers from scratch and from a pretrained tower, with few labels, at the same budget.

    OMP_NUM_THREADS=1 ./run python -m benchmarks.pretraining --dataset simulate --out runs/pretraining --write

Pretraining reads all events of the training days. The rankers read a share of the training requests (`share`), drawn by
the hash of their ids, once. Runs that are finished are not made again; they run one after the other in this process.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.few_labels import late_surface
from benchmarks.parts.quality.kept import Results, write_kept
from benchmarks.parts.quality.rankers import Plan, Row, Trainer, add_flags, parse, settings_of, task_tables
from benchmarks.parts.quality.runs import Runs, prepared
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.tables import Source

METRICS = ("auc", "request_auc", "ne")
WORLD = Simulate(num_users=2000, num_items=1000, requests_per_user=20)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """How one of them is learnt from; settings chosen on validation, seed 0.

    Args:
        recipe: a shipped one.
        pretrain: flags of every pretraining run.
        next_action: of those with the next-action loss.
        newest_days: as long as ranking logs reach in the rows of that name.
    """

    recipe: str
    pretrain: tuple[str, ...] = ()
    next_action: tuple[str, ...] = ()
    newest_days: int = 1


DATASETS = {
    "kuairand": Dataset(recipe="kuairand", pretrain=("--pretrain.epochs", "1")),
    "ml1m_ranking": Dataset(recipe="ml1m_ranking", pretrain=("--pretrain.epochs", "1"), newest_days=10),
    # Its events do not tell what was passed over.
    "simulate": Dataset(
        recipe="kuairand",
        pretrain=("--pretrain.epochs", "3", "--pretrain.batch_size", "32"),
        next_action=("--pretrain.unmet_items", "2"),
        newest_days=2,
    ),
}

NEXT_ACTION = ("--pretrain.next_action_weight", "1", "--pretrain.loss_weights", "by_pairs")
NO_TOWER, TOWER_PATH = ("--use_tower", "false"), ("--ranker.tower_path", "true")
# Histories are counted in all rows; one pass over the labels, in steps small enough to be some.
BUDGET = ("--ranker.history_counts", "true", "--finetune.epochs", "1", "--finetune.optimizer.warmup_steps", "20")
KINDS = (
    Row(name="no_tower", told="no tower", pretrained=None, flags=NO_TOWER),
    Row(name="scratch", told="tower from scratch", pretrained=None),
    Row(name="scratch_path", told="tower from scratch, tower path", pretrained=None, flags=TOWER_PATH),
    Row(name="recipe", told="pretrained by the recipe", pretrained="recipe"),
    Row(name="by_pairs", told="pretrained, losses by pairs", pretrained="by_pairs"),
    Row(name="next_action", told="pretrained with next actions", pretrained="next_action"),
    Row(
        name="next_action_path",
        told="pretrained with next actions, tower path",
        pretrained="next_action",
        flags=TOWER_PATH,
    ),
)
LABELS = {
    "1": ("1 %", ("--finetune.request_share", "0.01", "--finetune.batch_size", "8")),
    "5": ("5 %", ("--finetune.request_share", "0.05", "--finetune.batch_size", "32")),
    "20": ("20 %", ("--finetune.request_share", "0.2", "--finetune.batch_size", "32")),
    "newest": ("newest days", ("--finetune.batch_size", "32")),
    "surface": ("new surface", ("--finetune.batch_size", "32")),
}
ROWS = tuple(
    replace(kind, name=f"{kind.name}_{labels}", told=f"{told}: {kind.told}", flags=(*kind.flags, *flags), group=labels)
    for labels, (told, flags) in LABELS.items()
    for kind in KINDS
)


def main() -> None:
    """Runs what is missing of the rows asked for and prints a table a task, of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(DATASETS), default="simulate")
    parser.add_argument("--data", type=Path, help="the folder of ML-1M; the others need none")
    add_flags(parser, ROWS, Path("runs/pretraining"))
    args = parse(parser, "ml1m_ranking", "the folder of ML-1M")
    found = DATASETS[args.dataset]
    runs = Runs(args.out / args.dataset, in_process=True)
    plan = plan_of(found, args.seeds, args.split)
    results: Results = {}
    settings: dict[str, list[str]] = {}
    for on_surface in (False, True):
        rows = [row for row in rows_of(found) if (row.group == "surface") == on_surface]
        if on_surface and args.dataset != "simulate":
            continue
        asked = [row for row in rows if row.name in args.rows]
        whole = prepared(source(args.dataset, args.data), runs.out / "dataset")
        trainer = Trainer(runs, late_surface(WORLD, runs.out / "surface") if on_surface else whole, plan)
        trainer.train(asked)
        results |= trainer.evaluated(rows)
        settings |= {row.name: settings_of(row, plan, flags_of(found)) for row in rows}
    print(as_tables(results))
    if args.write:
        write_kept(f"pretraining {args.dataset}", results, settings, runs.revision, as_tables, split=args.split)


def flags_of(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The flags of the pretraining runs that rows start from, by name."""
    return {
        "recipe": dataset.pretrain,
        "by_pairs": (*dataset.pretrain, "--pretrain.loss_weights", "by_pairs"),
        "next_action": (*dataset.pretrain, *NEXT_ACTION, *dataset.next_action),
    }


def plan_of(dataset: Dataset, seeds: Sequence[int], split: str) -> Plan:
    """What to run on a dataset."""
    return Plan(
        recipe=dataset.recipe,
        pretrained=flags_of(dataset),
        metrics=METRICS,
        finetune=BUDGET,
        seeds=seeds,
        split=split,
        jobs=1,
    )


def rows_of(dataset: Dataset) -> list[Row]:
    """The rows, with the days of those that learn from recent labels."""
    newest = ("--finetune.newest_days", str(dataset.newest_days))
    return [replace(row, flags=(*row.flags, *newest)) if row.group == "newest" else row for row in ROWS]


def source(name: str, data: Path | None) -> Source:
    """Where a dataset comes from."""
    if name == "simulate":
        return WORLD
    # Most users rate all their films in one sitting; a longer pause would leave them one request and no history.
    return KuaiRand() if data is None else MovieLens(path=data, request_gap_minutes=1)


def as_tables(results: Results) -> str:
    """One table a task: mean and standard deviation over the seeds, and how many there are."""

    def columns(metrics: Mapping[str, Any]) -> dict[str, Any]:
        return {name: metrics[name] for name in METRICS}

    return task_tables(results, ROWS, "labels: ranker", columns)


if __name__ == "__main__":
    main()
