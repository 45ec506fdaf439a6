r"""The tower against the published sequence models: next item on MovieLens-1M, leave-one-out, full catalogue.

    ./run python -m benchmarks.movielens --data ../shared/data/ml-1m --out runs/movielens \
        --rows base --seeds 0 1 2 --write

Each row is `pinfm pretrain --config ml1m` with the flags of `benchmarks/parts/quality/movielens_rows.py`, in a process
of its own with its log in OUT/logs. A run that was interrupted goes on from its checkpoint; one that is finished is not
run again. The checkpoint is chosen on validation (NDCG@10), and its test figures are told.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.kept import Results, add_write_flag, write_kept
from benchmarks.parts.quality.leave_one_out import held_out, kept_items, leave_one_out, with_validation
from benchmarks.parts.quality.movielens_rows import PUBLISHED, RECIPE, ROWS, Row
from benchmarks.parts.quality.runs import Command, Runs, in_parallel, prepared
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.tower import SequenceTower
from pinfm.train.comparison.report.markdown import mean_and_spread, table
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.evaluation.retrieval import rank_catalogue

LEAST_RATINGS = 5
METRICS = ("hr@10", "ndcg@10")
HELD_OUT = ("validation", "test")
TOLD = " + time"  # of the lines and figures where the tower is told the target's time


def main() -> None:
    """Runs what is missing of the rows asked for and prints the table of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of ML-1M")
    parser.add_argument("--out", type=Path, default=Path("runs/movielens"))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="to run; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="to run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    add_write_flag(parser)
    args = parser.parse_args()
    everything = PreparedDataset.open(prepared(MovieLens(path=args.data), args.out / "prepared"))
    data = leave_one_out(everything, kept_items(everything, LEAST_RATINGS), args.out / "leave_one_out")
    more_data = with_validation(data, args.out / "with_validation")
    runs = Runs(args.out)

    def command_of(row: Row, seed: int) -> Command:
        path = (more_data if row.trains_on_validation else data).path
        return Command("pretrain", RECIPE, ("--data", path, "--seed", seed, *row.flags))

    def train(run: tuple[Row, int]) -> None:
        row, seed = run
        runs.train(f"{row.name}-{seed}", command_of(row, seed))

    in_parallel(args.jobs, train, [(ROWS[name], seed) for name in args.rows for seed in args.seeds])
    results: Results = {}
    for row in ROWS.values():
        for seed in runs.seeds(row.name, partial(command_of, row)):
            figures = Figures(runs.folder(f"{row.name}-{seed}"), data, row.max_history)
            for name, told in told_or_not(row).items():
                results.setdefault(name, {})[seed] = chosen(figures, told, row.trains_on_validation)
    print(as_table(results))
    if args.write:
        settings = {line: row.settings() for row in ROWS.values() for line in told_or_not(row)}
        write_kept("movielens", results, settings, lambda line, seed: runs.revision(row_of(line).name, seed), as_table)


class Figures:
    """Figures of a run's checkpoints, each made when it is asked for and kept in RUN/evaluation.json.

    Args:
        run: a pretraining run.
        data: the dataset whose held-out events are to be found.
        max_history: newest events that the tower reads.
    """

    def __init__(self, run: Path, data: PreparedDataset, max_history: int) -> None:
        self.data, self.max_history = data, max_history
        self.run = run
        self.checkpoints = {checkpoint.name: checkpoint for checkpoint in RunFolder.open(run).checkpoints()}
        self.file = run / "evaluation.json"
        self.found: dict[str, dict[str, dict[str, Any]]] = (
            json.loads(self.file.read_text()) if self.file.exists() else {}
        )

    def of(self, checkpoint: str, split: str, told: str) -> dict[str, Any]:
        """HR@10 and NDCG@10 of one checkpoint.

        Args:
            checkpoint: its name.
            split: `validation` or `test`.
            told: `TOLD` to tell the tower the target's time, or nothing.
        """
        figures = self.found.setdefault(checkpoint, {})
        if split + told not in figures:
            tower = SequenceTower.from_run(self.run, self.checkpoints[checkpoint])
            figures[split + told] = rank_catalogue(
                tower,
                self.data.items()["item_id"].to_numpy(),
                held_out(self.data, split),
                self.max_history,
                (10,),
                tell_time=told == TOLD,
            )
            self.file.write_text(json.dumps(self.found, indent=2) + "\n")
        return figures[split + told]


def told_or_not(row: Row) -> dict[str, str]:
    """The lines that a row's runs give: one without the target's time, and one with it where the tower can be told."""
    told = {f"{row.name}{TOLD}": TOLD} if row.request_time else {}
    return {row.name: "", **told}


def row_of(name: str) -> Row:
    """The row that a line of the table comes from."""
    return ROWS[name.removesuffix(TOLD)]


def chosen(figures: Figures, told: str, trains_on_validation: bool) -> dict[str, Any]:
    """The checkpoint that validation chooses, and the way there; the last one where validation was trained on.

    The test items are looked at for this checkpoint alone.
    """
    if trains_on_validation:
        name = max(figures.checkpoints)
        return {"checkpoint": name, "test": figures.of(name, "test", told), "curve": {}}
    curve = {name: figures.of(name, "validation", told)["ndcg@10"] for name in figures.checkpoints}
    name = max(curve, key=lambda step: curve[step])
    found = {split: figures.of(name, split, told) for split in HELD_OUT}
    return {"checkpoint": name, **found, "curve": {step.removeprefix("step-"): v for step, v in curve.items()}}


def as_table(results: Results) -> str:
    """Published rows, then ours with mean and standard deviation over the seeds."""
    heading = ["model", "HR@10", "NDCG@10", "validation HR@10", "validation NDCG@10", "seeds", "what it is"]
    lines = [[name, f"{hr:.4f}", f"{ndcg:.4f}", "", "", "", told] for name, hr, ndcg, told in PUBLISHED]
    for name, seeds in results.items():
        columns = [
            mean_and_spread([run[split][metric] for run in seeds.values() if split in run])
            for split in ("test", "validation")
            for metric in METRICS
        ]
        time = "; told the target's time" if name.endswith(TOLD) else ""
        lines.append([name, *columns, str(len(seeds)), row_of(name).told + time])
    return table(heading, lines)


if __name__ == "__main__":
    main()
