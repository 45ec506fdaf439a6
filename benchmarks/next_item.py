r"""The next item on logs that nobody tuned for: `pinfm pretrain --config auto`, against the best published rows.

    ./run python -m benchmarks.next_item --data ../shared/data --out runs/next_item \
        --sets toys sports lastfm ml1m --seeds 0 1 2 --write

Leave-one-out, the whole catalogue ranked, items of the history left out. One command for every set, each run in a
process of its own with one thread and its log in OUT/logs; validation ends a run and chooses its checkpoint. A run that
was interrupted goes on; one that is finished is not run again.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.kept import Results, add_write_flag, kept_settings, write_kept
from benchmarks.parts.quality.next_item_sets import SETS
from benchmarks.parts.quality.runs import Command, Runs, edition, in_parallel
from pinfm.train.cli.run_flags import AUTO
from pinfm.train.comparison.report.markdown import mean_and_spread, table

SECTION = "next item"
METRICS = ("hr@10", "ndcg@10")
HELD_OUT = ("test", "validation")


def main() -> None:
    """Runs what is missing and prints the table of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds next_item/*.txt.gz and ml-1m/")
    parser.add_argument("--out", type=Path, default=Path("runs/next_item"))
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="to run; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="to run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    add_write_flag(parser)
    args = parser.parse_args()
    runs = Runs(args.out)
    datasets = {name: SETS[name].prepare(args.data, args.out / name) for name in args.sets}

    def train(run: tuple[str, int]) -> None:
        name, seed = run
        runs.train(f"{name}-{seed}", command(datasets[name], seed))
        for split in HELD_OUT:
            runs.evaluate(f"{name}-{seed}", datasets[name], split)

    in_parallel(args.jobs, train, [(name, seed) for seed in args.seeds for name in args.sets])
    results = found(runs, datasets)
    print(as_table(results))
    if args.write:
        write_kept(SECTION, results, settings_of_rows(datasets), runs.revision, as_table)


def settings_of_rows(datasets: dict[str, Path]) -> dict[str, list[str]]:
    """What the rules choose for each set today; what they chose for those that were not asked for now."""
    told = kept_settings(SECTION)
    return {name: [edition(AUTO, datasets[name])] if name in datasets else told.get(name, []) for name in SETS}


def command(dataset: Path, seed: int) -> Command:
    """What makes a run."""
    return Command("pretrain", AUTO, ("--data", dataset, "--seed", seed))


def found(runs: Runs, datasets: dict[str, Path]) -> Results:
    """HR@10 and NDCG@10 of every finished run on the held-out splits."""
    results: Results = {}
    for name, dataset in datasets.items():
        for seed in runs.seeds(name, lambda seed, dataset=dataset: command(dataset, seed)):  # type: ignore[misc]
            results.setdefault(name, {})[seed] = {
                split: {metric: figures_of(runs, name, seed, dataset, split)[metric] for metric in METRICS}
                for split in HELD_OUT
            }
    return results


def figures_of(runs: Runs, name: str, seed: int, dataset: Path, split: str) -> dict[str, Any]:
    """What `pinfm evaluate` says of a run's own ranking."""
    figures: dict[str, Any] = runs.evaluate(f"{name}-{seed}", dataset, split)["retrieval"]
    return figures


def as_table(results: Results) -> str:
    """Of each set the published rows, then ours with mean and standard deviation over the seeds."""
    heading = ["data", "model", "HR@10", "NDCG@10", "validation HR@10", "validation NDCG@10", "seeds", "from"]
    lines: list[Iterable[str]] = []
    for name, seeds in results.items():
        title = SETS[name].title
        lines += [
            [title, model, f"{hr:.4f}", f"{ndcg:.4f}", "", "", "", by] for model, hr, ndcg, by in SETS[name].published
        ]
        columns = [
            mean_and_spread([run[split][metric] for run in seeds.values()]) for split in HELD_OUT for metric in METRICS
        ]
        lines.append([title, "**pinfm, auto**", *columns, str(len(seeds)), "`--config auto`"])
    return table(heading, lines)


if __name__ == "__main__":
    main()
