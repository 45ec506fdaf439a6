r"""What do counters of what is happening to an item now add to a ranker? News, KuaiRand, MovieTweetings.

    ./run python -m benchmarks.live_counts --dataset news --out runs/live_counts --seeds 0 1 2 --write

News are a simulated world of items that arrive all the time, live hours and have bursts (docs/data.md). The same log is
prepared without counters (`prepare --live-counts`), with those of the item, and with those of its topic and of user x
topic too; everything else is the same. The world has one seed; the seeds are those of training. The baselines of
`pinfm evaluate` know no user. Of the simulated world the ceiling is known.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.click_ceiling import click_ceiling
from benchmarks.parts.quality.kept import Results, write_kept
from benchmarks.parts.quality.rankers import Plan, Row, Trainer, add_flags, kept, parse, settings_of, task_tables
from benchmarks.parts.quality.runs import Runs, prepared
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.films.movietweetings import MovieTweetings
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.tables import Source

METRICS = ("auc", "request_auc", "hit3", "ne")
HEADINGS = {"auc": "AUC", "request_auc": "request AUC", "hit3": "HIT@3", "ne": "NE"}
# What is told of each data set, and the recipe that it is trained by.
TASKS = {"news": "click", "kuairand": "click", "movietweetings": "rate"}
RECIPES = {"news": "cold_start", "kuairand": "kuairand", "movietweetings": "cold_start"}
NEWS = Simulate(
    num_users=1500, num_items=1000, num_days=7, requests_per_user=25.0, item_life_hours=6.0, burst_scale=1.0
)
# --live-counts of the datasets that one log is prepared into, by the group of their rows.
COUNTED = {"": (), "item": ("item",), "all": ("item", "topic", "user.topic")}

PRETRAINED: dict[str, tuple[str, ...]] = {"all_losses": ()}
NO_TOWER = ("--use_tower", "false")
ROWS = (
    Row(name="no_tower", told="no tower", pretrained=None, flags=NO_TOWER),
    Row(name="no_tower_item", told="no tower, counters of the item", pretrained=None, flags=NO_TOWER, group="item"),
    Row(
        name="no_tower_all",
        told="no tower, counters of item, topic, user x topic",
        pretrained=None,
        flags=NO_TOWER,
        group="all",
    ),
    Row(name="tower", told="tower"),
    Row(name="tower_item", told="tower, counters of the item", group="item"),
    Row(name="tower_all", told="tower, counters of item, topic, user x topic", group="all"),
)
# The run whose report the baselines are taken from.
FIRST = "no_tower"
CEILING = "ceiling"
UNTRAINED = {
    "popularity": "an item's rate in training",
    "live_popularity": "an item's rate so far",
    "last_hour": "actions on the item in the last hour",
    "last_6_hours": "actions on the item in the last six hours",
    "last_day": "actions on the item in the last day",
    "last_week": "actions on the item in the last week",
    "events_so_far": "actions on the item so far",
    "freshest": "the youngest item first",
    CEILING: "the chance of a click itself: nobody can do better",
}


def main() -> None:
    """Runs what is missing of the rows asked for and prints a table of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(TASKS), default="news")
    parser.add_argument("--data", type=Path, help="the folder of MovieTweetings; KuaiRand's sample is in the package")
    add_flags(parser, ROWS, Path("runs/live_counts"))
    args = parse(parser, "movietweetings", "the folder of MovieTweetings")
    runs, rows = Runs(args.out / args.dataset), rows_of(args.dataset)
    plan = Plan(
        recipe=RECIPES[args.dataset],
        pretrained=PRETRAINED,
        metrics=METRICS,
        by_age=True,
        # What the counters of user x topic add must not be what any count of the history adds.
        finetune=("--ranker.history_counts", "true"),
        seeds=args.seeds,
        split=args.split,
        jobs=args.jobs,
    )
    trained: Results = {}
    for group in dict.fromkeys(row.group for row in rows):
        folder = runs.out / "-".join(["dataset", *filter(None, [group])])
        dataset = prepared(source(args.dataset, args.data), folder, live_counts=COUNTED[group])
        trainer, of_group = Trainer(runs, dataset, plan), [row for row in rows if row.group == group]
        trainer.train([row for row in of_group if row.name in args.rows])
        trained |= trainer.evaluated(of_group)
    task = TASKS[args.dataset]
    of_task = {name: {seed: {task: run[task]} for seed, run in seeds.items()} for name, seeds in trained.items()}
    results = untrained(args.dataset, runs, plan) | {row.name: of_task[row.name] for row in rows if row.name in of_task}
    print(as_tables(results))
    if args.write:
        settings = {name: ["untrained", "--split", plan.split] for name in UNTRAINED}
        settings |= {row.name: [*settings_of(row, plan, PRETRAINED), *counted(row)] for row in rows}

        def revision(name: str, seed: int) -> Any:
            return runs.revision(FIRST if name in UNTRAINED else name, seed)

        write_kept(f"live counts {args.dataset}", results, settings, revision, as_tables, split=args.split)


def rows_of(dataset: str) -> list[Row]:
    """The rows; the attributes of items are counted where they were made for it."""
    return [row for row in ROWS if row.group != "all" or dataset == "news"]


def counted(row: Row) -> list[str]:
    """What the row's dataset was prepared with."""
    return ["--live-counts", *COUNTED[row.group]] if COUNTED[row.group] else []


def source(dataset: str, data: Path | None) -> Source:
    """Where a data set comes from."""
    if dataset == "news":
        return NEWS
    return KuaiRand() if data is None else MovieTweetings(path=data, sampled_candidates=20)


def untrained(dataset: str, runs: Runs, plan: Plan) -> Results:
    """What `pinfm evaluate` reports beside the first row's model, which no seed changes, and the ceiling."""
    seed = next((seed for seed in plan.seeds if runs.folder(f"{FIRST}-{seed}").exists()), None)
    if seed is None:
        return {}
    folder, task = runs.out / "dataset", TASKS[dataset]
    metrics = runs.evaluate(f"{FIRST}-{seed}", folder, plan.split)["metrics"]
    found = {name: of[task] for name, of in metrics.items() if name in UNTRAINED}
    if dataset == "news":
        found[CEILING] = click_ceiling(NEWS, PreparedDataset.open(folder), plan.split)
    return {name: {seed: {task: kept(of, plan)}} for name, of in found.items()}


def as_tables(results: Results) -> str:
    """The metrics over all items, and AUC by item age; mean and standard deviation over the seeds."""

    def columns(metrics: Mapping[str, Any]) -> dict[str, Any]:
        by_age = {f"AUC, {age}": of["auc"] for age, of in metrics["by_age"].items() if of["auc"] is not None}
        return {HEADINGS[name]: metrics[name] for name in METRICS} | by_age

    rows = [*ROWS, *(Row(name=name, told=told) for name, told in UNTRAINED.items())]
    return task_tables(results, rows, "ranker", columns)


if __name__ == "__main__":
    main()
