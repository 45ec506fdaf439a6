r"""What does the tower add to a ranker, and which part of it? KuaiRand, and MovieLens-1M as ranking.

    uv run --extra cpu python -m benchmarks.fusion --dataset kuairand --out runs/fusion --seeds 0 1 2 --write

Each row is one way to train a ranker: without the tower, with a tower from scratch, frozen or fine-tuned; early or late
fusion; the losses of pretraining and of fine-tuning. All rows of a seed share their pretraining runs. Runs that are
finished are not made again.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.runs import Runs, in_parallel, mean_and_spread, table, write_results
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.movielens import MovieLens
from pinfm.train.data.tables import Source

METRICS = ("auc", "gauc", "ne", "hit3", "hit3_hard")
Results = dict[str, dict[int, dict[str, Any]]]

NEXT_TOKEN_ONLY = ("--pretrain.multi_token_weight", "0", "--pretrain.future_token_weight", "0")
NO_FUTURE_TOKEN = ("--pretrain.future_token_weight", "0")
# Pretraining runs that the rows start from, by name.
PRETRAINED = {"all_losses": (), "next_token": NEXT_TOKEN_ONLY, "no_future_token": NO_FUTURE_TOKEN}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to train a ranker.

    Args:
        name: in the table and of the run's folder.
        told: what it is, for the reader of the table.
        pretrained: the pretraining run it starts from; None for none.
        flags: of `pinfm finetune`.
    """

    name: str
    told: str
    pretrained: str | None = "all_losses"
    flags: tuple[str, ...] = ()


ROWS = (
    Row(name="no_tower", told="no tower", pretrained=None, flags=("--use_tower", "false")),
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
)


def main() -> None:
    """Runs what is missing and prints a table a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["kuairand", "ml1m_ranking"], default="kuairand")
    parser.add_argument("--data", type=Path, help="the folder of ML-1M; KuaiRand's sample is in the package")
    parser.add_argument("--out", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=["validation", "test"], default="test", help="choose on validation")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--write", action="store_true", help="write docs/results/ and docs/results.md")
    args = parser.parse_args()
    if args.dataset == "ml1m_ranking" and args.data is None:
        parser.error("--dataset ml1m_ranking needs --data, the folder of ML-1M")
    rows = [row for row in ROWS if args.rows is None or row.name in args.rows]
    results = run(Runs(args.out / args.dataset), args.dataset, args.data, rows, args.seeds, args.split, args.jobs)
    markdown = as_tables(results)
    print(markdown)
    if args.write:
        section, docs = f"fusion {args.dataset}", Path("docs")
        report = docs / "results" / f"fusion_{args.dataset}.json"
        write_results(report, docs / "results.md", section, markdown, {"split": args.split, "rows": results})


def run(
    runs: Runs, recipe: str, data: Path | None, rows: list[Row], seeds: list[int], split: str, jobs: int
) -> Results:
    """Trains and evaluates every row under every seed.

    Args:
        runs: where.
        recipe: `kuairand` or `ml1m_ranking`, which is also the dataset's name.
        data: the raw data; None for the shipped sample.
        rows: which ones.
        seeds: which ones.
        split: evaluated on.
        jobs: runs at a time.

    Returns:
        Row -> seed -> task -> metrics.
    """
    dataset = runs.out / "dataset"
    if not (dataset / "dataset.json").exists():
        source: Source = KuaiRand() if recipe == "kuairand" or data is None else MovieLens(path=data)
        prepare(source, dataset, PrepareOptions())

    def common(seed: int) -> list[object]:
        return ["--config", recipe, "--data", dataset, "--seed", seed]

    def pretrain(item: tuple[str, int]) -> None:
        name, seed = item
        runs.train(f"pretrained-{name}-{seed}", "pretrain", [*common(seed), *PRETRAINED[name]])

    def finetune(item: tuple[Row, int]) -> None:
        row, seed = item
        words = [*common(seed), *row.flags]
        if row.pretrained is not None:
            words += ["--pretrained", runs.folder(f"pretrained-{row.pretrained}-{seed}")]
        runs.train(f"{row.name}-{seed}", "finetune", words)
        runs.evaluate(f"{row.name}-{seed}", dataset, split)

    needed = sorted({row.pretrained for row in rows if row.pretrained is not None})
    in_parallel(jobs, pretrain, [(name, seed) for seed in seeds for name in needed])
    wanted = [(row, seed) for seed in seeds for row in rows]
    in_parallel(jobs, finetune, wanted)
    results: Results = {}
    for row, seed in wanted:
        report = runs.evaluate(f"{row.name}-{seed}", dataset, split)
        results.setdefault(row.name, {})[seed] = report["metrics"]["model"]
    return results


def as_tables(results: Results) -> str:
    """One table a task: mean and standard deviation over the seeds."""
    told = {row.name: row.told for row in ROWS}
    first = next(iter(next(iter(results.values())).values()))
    parts = []
    for task in first:
        lines = [
            [told[name], *(mean_and_spread([run[task][metric] for run in seeds.values()]) for metric in METRICS)]
            for name, seeds in results.items()
        ]
        parts.append(f"**{task}**\n\n" + table([f"{task}: ranker", *METRICS], lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
