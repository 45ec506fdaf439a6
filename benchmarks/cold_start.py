r"""Does the cold-start recipe help new items? MovieTweetings (real arrivals) and the simulator, by item age.

    uv run --extra cpu python -m benchmarks.cold_start --dataset movietweetings --data ../shared/data/movietweetings \
        --out runs/cold_start --seeds 0 1 2 --write

The rows add the paper's techniques one after the other: candidate id randomisation, item-age dropout, content fusion
with its alignment loss and the learnable token. All rows of a seed share one pretraining run.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.runs import Runs, in_parallel, mean_and_spread, table, write_results
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.movietweetings import MovieTweetings
from pinfm.train.data.sources.simulate import Simulate

RECIPE = "cold_start"
METRICS = ("hit3", "hit3_hard", "auc")
Results = dict[str, dict[int, dict[str, Any]]]

NO_CIR = ("--cold_start.candidate_id_randomization", "0")
NO_AGE_DROPOUT = ("--cold_start.dropout_under_7_days", "0", "--cold_start.dropout_7_to_28_days", "0")
CONTENT = ("--cold_start.content_fusion", "true", "--cold_start.learnable_token", "true")
# Name -> flags of `pinfm finetune`, from nothing to the full recipe.
ROWS = {
    "no_tower": ("--use_tower", "false"),
    "none": (*NO_CIR, *NO_AGE_DROPOUT),
    "cir": NO_AGE_DROPOUT,
    "cir_age_dropout": (),
    "full": CONTENT,
}


def main() -> None:
    """Runs what is missing and prints a table a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["movietweetings", "simulate"], default="simulate")
    parser.add_argument("--data", type=Path, help="the folder of MovieTweetings")
    parser.add_argument("--out", type=Path, default=Path("runs/cold_start"))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=["validation", "test"], default="test", help="choose on validation")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--write", action="store_true", help="write docs/results/ and docs/results.md")
    args = parser.parse_args()
    if args.dataset == "movietweetings" and args.data is None:
        parser.error("--dataset movietweetings needs --data, its folder")
    results = run(Runs(args.out / args.dataset), args.data, args.rows, args.seeds, args.split, args.jobs)
    markdown = as_tables(results)
    print(markdown)
    if args.write:
        section, docs = f"cold start {args.dataset}", Path("docs")
        report = docs / "results" / f"cold_start_{args.dataset}.json"
        write_results(report, docs / "results.md", section, markdown, {"split": args.split, "rows": results})


def run(runs: Runs, data: Path | None, rows: list[str], seeds: list[int], split: str, jobs: int) -> Results:
    """Trains and evaluates every row under every seed.

    Args:
        runs: where.
        data: MovieTweetings' folder; None for the simulator.
        rows: which ones.
        seeds: which ones.
        split: evaluated on.
        jobs: runs at a time.

    Returns:
        Row -> seed -> task -> metrics, `by_age` among them.
    """
    dataset = runs.out / "dataset"
    if not (dataset / "dataset.json").exists():
        prepare(
            Simulate(num_users=10_000) if data is None else MovieTweetings(path=data, sampled_candidates=20),
            dataset,
            PrepareOptions(),
        )

    def common(seed: int) -> list[object]:
        return ["--config", RECIPE, "--data", dataset, "--seed", seed]

    def pretrain(seed: int) -> None:
        runs.train(f"pretrained-{seed}", "pretrain", common(seed))

    def finetune(item: tuple[str, int]) -> None:
        row, seed = item
        pretrained = [] if row == "no_tower" else ["--pretrained", runs.folder(f"pretrained-{seed}")]
        runs.train(f"{row}-{seed}", "finetune", [*common(seed), *ROWS[row], *pretrained])
        runs.evaluate(f"{row}-{seed}", dataset, split)

    in_parallel(jobs, pretrain, seeds)
    wanted = [(row, seed) for seed in seeds for row in rows]
    in_parallel(jobs, finetune, wanted)
    results: Results = {}
    for row, seed in wanted:
        report = runs.evaluate(f"{row}-{seed}", dataset, split)
        results.setdefault(row, {})[seed] = report["metrics"]["model"]
    return results


def as_tables(results: Results) -> str:
    """One table a task: each metric over all items and by item age, mean and standard deviation over the seeds."""
    first = next(iter(next(iter(results.values())).values()))
    parts = []
    for task, metrics in first.items():
        slices = [None, *metrics["by_age"]]
        heading = [f"{task}: recipe"] + [f"{metric}, {age or 'all items'}" for age in slices for metric in METRICS]
        lines = []
        for name, seeds in results.items():
            values = [
                [(run[task] if age is None else run[task]["by_age"][age]).get(metric) for run in seeds.values()]
                for age in slices
                for metric in METRICS
            ]
            lines.append([name, *("" if None in column else mean_and_spread(column) for column in values)])
        parts.append(f"**{task}**\n\n" + table(heading, lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
