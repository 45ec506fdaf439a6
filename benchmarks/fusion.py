r"""What does the tower add to a ranker, and which part of it? KuaiRand, and MovieLens-1M as ranking.

    ./run python -m benchmarks.fusion --dataset kuairand --out runs/fusion --seeds 0 1 2 --write

Each row is one way to train a ranker: without the tower, with a tower from scratch, frozen or fine-tuned; early or late
fusion; the losses of pretraining and of fine-tuning; a tenth of the labels. All rows of a seed share their pretraining
runs. Runs that are finished are not made again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.parts.quality.kept import Results, write_kept
from benchmarks.parts.quality.rankers import Plan, Row, Trainer, add_flags, parse, settings_of, task_tables
from benchmarks.parts.quality.runs import Runs, prepared
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.tables import Source

METRICS = ("auc", "request_auc", "gauc", "ne", "hit3", "hit3_hard")

NEXT_TOKEN_ONLY = ("--pretrain.multi_token_weight", "0", "--pretrain.future_token_weight", "0")
NO_FUTURE_TOKEN = ("--pretrain.future_token_weight", "0")
# Pretraining runs that the rows start from, by name.
PRETRAINED = {"all_losses": (), "next_token": NEXT_TOKEN_ONLY, "no_future_token": NO_FUTURE_TOKEN}

# All rows count the histories: a tower has to know more than how many clicks there were.
COUNTS = ("--ranker.history_counts", "true")
NO_TOWER = ("--use_tower", "false")
ROWS = (
    Row(
        name="no_counts",
        told="no tower, histories not even counted",
        pretrained=None,
        flags=(*NO_TOWER, "--ranker.history_counts", "false"),
    ),
    Row(name="no_tower", told="no tower", pretrained=None, flags=NO_TOWER),
    Row(name="scratch", told="tower from scratch", pretrained=None),
    Row(name="frozen", told="pretrained, frozen", flags=("--finetune.freeze_tower", "true")),
    Row(name="fine_tuned", told="pretrained, fine-tuned; early fusion; all losses"),
    Row(name="lite_mean", told="late fusion, mean", flags=("--tower.fusion", "lite_mean")),
    Row(name="lite_last", told="late fusion, last", flags=("--tower.fusion", "lite_last")),
    Row(name="pretrain_ntl", told="pretrained with next-token loss alone", pretrained="next_token"),
    Row(name="pretrain_ntl_mtl", told="pretrained without future-token loss", pretrained="no_future_token"),
    Row(
        name="finetune_no_ntl",
        told="fine-tuned without next-token loss",
        flags=("--finetune.next_token_weight", "0"),
    ),
    Row(
        name="finetune_ranking_only",
        told="fine-tuned on the ranker's loss alone",
        flags=(
            *("--finetune.next_token_weight", "0", "--finetune.tower_prediction_weight", "0"),
            *("--finetune.agreement_weight", "0"),
        ),
    ),
    # Rankers learn from the newest tenth of the labels alone; histories and pretraining read everything.
    Row(name="recent_no_tower", told="few labels: no tower", pretrained=None, flags=NO_TOWER, group="recent"),
    Row(name="recent_scratch", told="few labels: tower from scratch", pretrained=None, group="recent"),
    Row(name="recent_fine_tuned", told="few labels: pretrained, fine-tuned", group="recent"),
)
# The newest days that hold about a tenth of the training requests.
TENTH_DAYS = {"kuairand": "1", "ml1m_ranking": "10"}


def main() -> None:
    """Runs what is missing of the rows asked for and prints a table a task, of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["kuairand", "ml1m_ranking"], default="kuairand")
    parser.add_argument("--data", type=Path, help="the folder of ML-1M; KuaiRand's sample is in the package")
    add_flags(parser, ROWS, Path("runs/fusion"))
    args = parse(parser, "ml1m_ranking", "the folder of ML-1M")
    runs, rows = Runs(args.out / args.dataset), rows_of(args.dataset)
    dataset = prepared(source(args.data), runs.out / "dataset")
    plan = Plan(
        recipe=args.dataset,
        pretrained=PRETRAINED,
        metrics=METRICS,
        finetune=COUNTS,
        seeds=args.seeds,
        split=args.split,
        jobs=args.jobs,
    )
    trainer = Trainer(runs, dataset, plan)
    trainer.train([row for row in rows if row.name in args.rows])
    results = trainer.evaluated(rows)
    print(as_tables(results))
    if args.write:
        settings = {row.name: settings_of(row, plan, PRETRAINED) for row in rows}
        write_kept(f"fusion {args.dataset}", results, settings, runs.revision, as_tables, split=args.split)


def rows_of(dataset: str) -> list[Row]:
    """The rows, with the days of those that learn from recent labels."""
    recent = ("--finetune.newest_days", TENTH_DAYS[dataset])
    return [replace(row, flags=(*row.flags, *recent)) if row.group == "recent" else row for row in ROWS]


def source(data: Path | None) -> Source:
    """ML-1M from its folder, or the shipped sample of KuaiRand."""
    # Most users rate all their films in one sitting; a longer pause would leave them one request and no history.
    return KuaiRand() if data is None else MovieLens(path=data, request_gap_minutes=1)


def as_tables(results: Results) -> str:
    """One table a task: mean and standard deviation over the seeds."""
    return task_tables(results, ROWS, "ranker", lambda metrics: {name: metrics[name] for name in METRICS})


if __name__ == "__main__":
    main()
