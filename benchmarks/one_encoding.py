r"""What does one encoding for retrieval and ranking cost either side? Joint runs against two models.

    ./run python -m benchmarks.one_encoding --dataset kuairand --out runs/one_encoding --seeds 0 1 2 --write

Two models: the pretrained tower finds items, and the ranker is fine-tuned without a loss of retrieval. Joint: one
fine-tuned run does both. All rows of a seed start from one pretraining run. Runs that are finished are not made again.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.parts.quality.kept import Results, write_kept
from benchmarks.parts.quality.rankers import Plan, Row, Trainer, add_flags, parse, settings_of
from benchmarks.parts.quality.runs import Runs, prepared
from pinfm.train.comparison.report.markdown import mean_and_spread, table
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.tables import Source

SECTION = "one encoding"
AUC, RETRIEVAL = "AUC, mean over tasks", ("hr@10", "ndcg@10")
PRETRAINED = "pretrained"
TWO_MODELS = "two_models"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What both stages learn from.

    Args:
        recipe: a shipped one.
        pretrain: flags of the pretraining run.
    """

    recipe: str
    pretrain: tuple[str, ...] = ()


DATASETS = {
    "kuairand": Dataset(recipe="kuairand"),
    "ml1m_ranking": Dataset(recipe="ml1m_ranking", pretrain=("--pretrain.epochs", "1")),
    "simulate": Dataset(recipe="kuairand", pretrain=("--pretrain.epochs", "3", "--pretrain.batch_size", "32")),
}
WORLD = Simulate(num_users=2000, num_items=1000, requests_per_user=20)


def _weight(weight: float) -> tuple[str, ...]:
    return ("--finetune.next_token_weight", f"{weight:g}")


ROWS = (
    Row(name=TWO_MODELS, told="two models", pretrained=PRETRAINED, flags=_weight(0)),
    Row(name="joint", told="joint, next-token weight 0.1 (default)", pretrained=PRETRAINED, flags=_weight(0.1)),
    Row(name="joint_1", told="joint, weight 1", pretrained=PRETRAINED, flags=_weight(1)),
    Row(
        name="joint_1_all",
        told="joint, weight 1, all events of a history",
        pretrained=PRETRAINED,
        flags=(*_weight(1), "--finetune.next_token_newest", "10000"),
    ),
)


def main() -> None:
    """Runs what is missing of the rows asked for and prints a table of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(DATASETS), default="kuairand")
    parser.add_argument("--data", type=Path, help="the folder of ML-1M; the others need none")
    add_flags(parser, ROWS, Path("runs/one_encoding"))
    args = parse(parser, "ml1m_ranking", "the folder of ML-1M")
    runs, found = Runs(args.out / args.dataset), DATASETS[args.dataset]
    dataset = prepared(source(args.dataset, args.data), runs.out / "dataset")
    plan = plan_of(found, args.seeds, args.split, args.jobs)
    trainer = Trainer(runs, dataset, plan)
    trainer.train([row for row in ROWS if row.name in args.rows])
    results: Results = {
        row: {seed: told_of(tasks, retrieval(runs, row, seed, dataset, args.split)) for seed, tasks in seeds.items()}
        for row, seeds in trainer.evaluated(ROWS).items()
    }
    print(as_table(results))
    if args.write:
        settings = {row.name: settings_of(row, plan, plan.pretrained) for row in ROWS}
        write_kept(f"{SECTION} {args.dataset}", results, settings, runs.revision, as_table, split=args.split)


def plan_of(dataset: Dataset, seeds: Sequence[int], split: str, jobs: int) -> Plan:
    """What to run on a dataset."""
    return Plan(
        recipe=dataset.recipe,
        pretrained={PRETRAINED: dataset.pretrain},
        metrics=("auc", "ne", "request_auc"),
        seeds=seeds,
        split=split,
        jobs=jobs,
    )


def source(name: str, data: Path | None) -> Source:
    """Where a dataset comes from."""
    if name == "simulate":
        return WORLD
    # Most users rate all their films in one sitting; a longer pause would leave them one request and no history.
    return KuaiRand() if data is None else MovieLens(path=data, request_gap_minutes=1)


def retrieval(runs: Runs, row: str, seed: int, dataset: Path, split: str) -> Mapping[str, Any]:
    """What finds items for a row: the run itself, or of two models the one that it started from."""
    run = f"pretrained-{PRETRAINED}-{seed}" if row == TWO_MODELS else f"{row}-{seed}"
    found: dict[str, Any] = runs.evaluate(run, dataset, split, retrieval=True)["retrieval"]
    return found


def told_of(tasks: Mapping[str, Mapping[str, Any]], found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one run, by the heading of their column."""
    aucs = [metrics["auc"] for metrics in tasks.values() if metrics["auc"] is not None]
    of_tasks = {f"AUC, {task}": metrics["auc"] for task, metrics in tasks.items()}
    return {AUC: mean(aucs), **of_tasks, **{name: found[name] for name in RETRIEVAL}}


def as_table(results: Results) -> str:
    """A line a row: mean and standard deviation over the seeds, and both sides against two models, seed by seed."""
    columns = list(next(iter(next(iter(results.values())).values())))
    against = results.get(TWO_MODELS, {})
    lines: list[Iterable[str]] = []
    for row in ROWS:
        seeds = results.get(row.name, {})
        if seeds:
            figures = [mean_and_spread([of[column] for of in seeds.values()]) for column in columns]
            changes = [_change(seeds, against, column) for column in (AUC, RETRIEVAL[0])]
            lines.append([row.told, *figures, *changes, str(len(seeds))])
    changed = (f"to two models: {name}" for name in ("AUC", RETRIEVAL[0]))
    return table(["rows", *columns, *changed, "seeds"], lines)


def _change(seeds: Mapping[int, Mapping[str, Any]], against: Mapping[int, Mapping[str, Any]], column: str) -> str:
    shared = seeds.keys() & against.keys()
    if seeds is against or not shared:
        return ""
    return mean_and_spread([seeds[seed][column] - against[seed][column] for seed in sorted(shared)], signed=True)


if __name__ == "__main__":
    main()
