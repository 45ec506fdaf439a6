r"""Which defence of tampered histories is worth having? KuaiRand, MovieLens-1M as ranking, and the simulator.

    ./run python -m benchmarks.robustness --dataset kuairand --out runs/robustness --seeds 0 1 2 --write

Under each seed a ranker is fine-tuned plainly and adversarially, both from one pretraining run with all five
self-supervised losses. Then its requests are attacked (benchmarks/parts/robustness/attacks/) and scored again, by the
code of the exported module with each defence and without. Runs and figures that are there are not made again.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.parts.pages import report_path, write_results
from benchmarks.parts.quality.runs import Runs, in_parallel
from benchmarks.parts.robustness.claims import claims_table
from benchmarks.parts.robustness.data import DATASETS, Models
from benchmarks.parts.robustness.experiment import Attack, Size
from benchmarks.parts.robustness.rows import ROWS, SWEEPS
from benchmarks.parts.robustness.tables import as_tables, values
from benchmarks.parts.workers import robustness as worker
from benchmarks.plots import STYLE

PAGE = Path("docs/results/robustness.md")


def main() -> None:
    """Runs what is missing, prints the tables and the claims, and writes them where --write asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(DATASETS), default="kuairand")
    parser.add_argument("--data", type=Path, help="the folder of ML-1M; the others need none")
    parser.add_argument("--out", type=Path, default=Path("runs/robustness"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, one thread each")
    parser.add_argument("--write", action="store_true", help=f"write the section of {PAGE}")
    args = parser.parse_args()
    if DATASETS[args.dataset].in_folder != (args.data is not None):
        parser.error("--data, the folder of ML-1M, goes with --dataset ml1m_ranking and with no other")
    out = args.out / args.dataset
    data = DATASETS[args.dataset].make(args.data, out / "dataset")
    models = Models(runs=Runs(out), name=args.dataset, data=data)
    report = compared(models, args.seeds, args.jobs, Size(requests=DATASETS[args.dataset].requests))
    text = section(args.dataset, report)
    print(text)
    if args.write:
        write_results(PAGE, args.dataset, text, report)
        draw(report, report_path(PAGE, args.dataset).with_suffix(".svg"))


def compared(models: Models, seeds: list[int], jobs: int, size: Size) -> dict[str, Any]:
    """Trains and measures what is missing.

    Args:
        models: of a dataset.
        seeds: which ones.
        jobs: seeds at a time.
        size: how much is measured.

    Returns:
        What the page's JSON file holds: `settings`, and `seeds`: seed -> row -> attack -> figures.
    """
    in_parallel(jobs, partial(_one_seed, models, size), seeds)
    figures = {str(seed): json.loads(_figures(models, seed).read_text()) for seed in sorted(seeds)}
    return {
        "settings": {"runs": models.told(), "size": vars(size)},
        "seeds": {seed: of["rows"] for seed, of in figures.items()},
    }


def section(dataset: str, report: dict[str, Any]) -> str:
    """What the page says of a dataset: the claims, the picture, the tables.

    Args:
        dataset: its name.
        report: of `compared`, or the section's JSON file.
    """
    picture = f"![AUC against the radius of an attack on the vectors, {dataset}](robustness/{dataset}.svg)"
    claims = claims_table(report["seeds"], where_injected_is_known=dataset == "simulator")
    return "\n\n".join([claims, picture, as_tables(report["seeds"])])


def draw(report: dict[str, Any], path: Path) -> None:
    """AUC against the attack's radius, a line a defence."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        _auc_by_radius(figure.add_subplot(), report)
        figure.savefig(path, metadata={"Date": None})


def _auc_by_radius(axes: Axes, report: dict[str, Any]) -> None:
    attacks = [Attack(kind="clean"), *(Attack(kind="pgd", size=radius) for radius in SWEEPS["pgd"])]
    for row in ROWS:
        columns = [values(report["seeds"], row.name, attack, "auc") for attack in attacks]
        if "pgd" in row.swept and all(columns):
            means = [sum(column) / len(column) for column in columns]
            low = [mean - min(column) for mean, column in zip(means, columns, strict=True)]
            high = [max(column) - mean for mean, column in zip(means, columns, strict=True)]
            axes.errorbar([attack.size for attack in attacks], means, yerr=[low, high], label=row.told, capsize=2)
    axes.set_xlabel("radius, in units of the history's own vectors")
    axes.set_ylabel("AUC (mean and range of the seeds)")
    axes.legend(fontsize=8)


def _one_seed(models: Models, size: Size, seed: int) -> None:
    worker.call(models.train(seed), models.data, _figures(models, seed), size)


def _figures(models: Models, seed: int) -> Path:
    return models.runs.out / f"figures-{seed}.json"


if __name__ == "__main__":
    main()
