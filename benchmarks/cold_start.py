r"""Does the cold-start recipe help new items? MovieTweetings (real arrivals) and the simulator, by item age.

    ./run python -m benchmarks.cold_start --dataset movietweetings --data ../shared/data/movietweetings \
        --out runs/cold_start --seeds 0 1 2 --write

The rows add the paper's techniques one after the other: candidate id randomisation, item-age dropout, content fusion
and the learnable token, the content's alignment loss. All rows of a seed share one pretraining run.

The rows named arrivals_* ask what the row of a newly admitted item should start from. Pretraining ends a week before
the training days do, and fine-tuning learns from that week's labels alone, so that items arrive whose rows nobody has
trained. They have a table of their own.
"""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.kept import Results, write_kept
from benchmarks.parts.quality.rankers import Plan, Row, Trainer, add_flags, parse, settings_of, task_tables
from benchmarks.parts.quality.runs import Runs, prepared
from pinfm.model.item_ages import SECONDS_PER_DAY
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.films.movietweetings import MovieTweetings
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.tables import Source

METRICS = ("hit3", "hit3_hard", "auc")

NO_CIR = ("--cold_start.candidate_id_randomization", "0")
NO_AGE_DROPOUT = ("--cold_start.dropout_young", "0", "--cold_start.dropout_middle", "0")
NO_CONTENT = ("--cold_start.content_fusion", "false", "--cold_start.learnable_token", "false")
CONTENT = ("--cold_start.content_fusion", "true", "--cold_start.learnable_token", "true")
MANAGED = ("--item_table.ids", "managed")
# Both read the days before the last week of training (`older`).
OLDER = {"older_hashed": NO_CONTENT, "older_managed": (*NO_CONTENT, *MANAGED, "--managed_ids.new_items", "init")}
# Of candidates alone, so pretraining can do without.
PRETRAINED: dict[str, tuple[str, ...]] = {"all_losses": NO_CONTENT, **OLDER}
ARRIVALS = (*NO_CONTENT, "--finetune.newest_days", "7", "--finetune.pretrained_sums_scale", "0.001")
# From nothing to the full recipe.
ROWS = (
    Row(name="no_tower", told="no tower", pretrained=None, flags=("--use_tower", "false")),
    Row(name="none", told="tower, no technique", flags=(*NO_CIR, *NO_AGE_DROPOUT, *NO_CONTENT)),
    Row(name="cir", told="+ candidate id randomisation", flags=(*NO_AGE_DROPOUT, *NO_CONTENT)),
    Row(name="cir_age_dropout", told="+ item-age dropout", flags=NO_CONTENT),
    Row(name="full", told="+ content fusion and learnable token", flags=CONTENT),
    Row(name="aligned", told="+ alignment loss", flags=(*CONTENT, "--cold_start.alignment_weight", "0.1")),
    Row(name="arrivals_hashed", told="hashed ids", pretrained="older_hashed", flags=ARRIVALS, group="arrivals"),
    *(
        Row(
            name=f"arrivals_{start}",
            told=f"managed ids, new rows by {start}",
            pretrained="older_managed",
            flags=(*ARRIVALS, *MANAGED, "--managed_ids.new_items", start),
            group="arrivals",
        )
        for start in ("init", "age", "content")
    ),
)


def main() -> None:
    """Runs what is missing of the rows asked for and prints a table a task, of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["movietweetings", "simulate"], default="simulate")
    parser.add_argument("--data", type=Path, help="the folder of MovieTweetings")
    add_flags(parser, ROWS, Path("runs/cold_start"))
    args = parse(parser, "movietweetings", "the folder of MovieTweetings")
    runs, rows = Runs(args.out / args.dataset), [row for row in ROWS if row.name in args.rows]
    dataset = prepared(source(args.data), runs.out / "dataset")
    older_days = runs.out / "older"
    if any(row.pretrained in OLDER for row in rows):
        write_older(dataset, older_days)
    plan = Plan(
        recipe="cold_start",
        pretrained={**PRETRAINED, **{name: (*flags, "--data", older_days) for name, flags in OLDER.items()}},
        metrics=METRICS,
        by_age=True,
        seeds=args.seeds,
        split=args.split,
        jobs=args.jobs,
    )
    trainer = Trainer(runs, dataset, plan)
    trainer.train(rows)
    results = trainer.evaluated(ROWS)
    for group, title in (("", "cold start"), ("arrivals", "cold start arrivals")):
        section = f"{title} {args.dataset}"
        settings = {row.name: settings_of(row, plan, PRETRAINED) for row in ROWS if row.group == group}
        of_group = {name: results[name] for name in settings if name in results}
        if not of_group:
            continue
        print(as_tables(of_group))
        if args.write:
            write_kept(section, of_group, settings, runs.revision, as_tables, split=args.split)


def source(data: Path | None) -> Source:
    """MovieTweetings from its folder, or a simulated world."""
    return Simulate(num_users=10_000) if data is None else MovieTweetings(path=data, sampled_candidates=20)


def write_older(dataset: Path, out: Path) -> None:
    """Writes the dataset with training days that end a week earlier, for pretraining; once."""
    if not (out / "dataset.json").exists():
        shutil.copytree(dataset, out, ignore=shutil.ignore_patterns("dataset.json"), dirs_exist_ok=True)
        info = PreparedDataset.open(dataset).info
        begin, end = info.splits["train"]
        splits = {**info.splits, "train": (begin, end - 7 * SECONDS_PER_DAY)}
        (out / "dataset.json").write_text(replace(info, splits=splits).to_json())


def as_tables(results: Results) -> str:
    """One table a task: HIT@3 over all items and by item age, and AUC; mean and standard deviation over the seeds."""

    def columns(metrics: Mapping[str, Any]) -> dict[str, Any]:
        by_age = {f"HIT@3, {age}": of["hit3"] for age, of in metrics["by_age"].items()}
        return {"HIT@3, all items": metrics["hit3"], **by_age, "AUC": metrics["auc"]}

    return task_tables(results, ROWS, "recipe", columns)


if __name__ == "__main__":
    main()
