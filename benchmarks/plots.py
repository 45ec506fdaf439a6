r"""The figures of docs/results.md, drawn from the JSON files beside it.

    ./run python -m benchmarks.plots

Each benchmark writes its JSON with --write; a figure whose file does not exist yet is left out, and said so.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Text stays text, and the same figures give the same file.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "pinfm", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False}

Report = dict[str, Any]


def main() -> None:
    """Draws every figure whose figures have been measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="the folder of JSON files")
    args = parser.parse_args()
    for name, draw in FIGURES.items():
        report = args.results / f"{name}.json"
        if not report.exists():
            print(f"{report} does not exist yet; no figure of it")
            continue
        path = report.with_suffix(".svg")
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(7.0, 3.2), layout="constrained")
            draw(figure.add_subplot(), json.loads(report.read_text()))
            figure.savefig(path, metadata={"Date": None})
        print(f"wrote {path}")


def lift_by_item_age(axes: Axes, report: Report) -> None:
    """HIT@3 of each cold-start recipe relative to the ranker without the tower, by item age."""
    rows = {name: row["seeds"] for name, row in report["rows"].items()}
    task = next(iter(_metrics(rows["no_tower"])))
    ages = [None, *_metrics(rows["no_tower"])[task]["by_age"]]
    recipes = [name for name in rows if name != "no_tower"]
    for i, name in enumerate(recipes):
        lifts = []
        for age in ages:
            base, ours = (_hit3(rows[row], task, age) for row in ("no_tower", name))
            lifts.append([100 * (ours[seed] / base[seed] - 1) for seed in ours if seed in base])
        _bars(axes, i, len(recipes), lifts, name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(ages)), [age or "all items" for age in ages])
    axes.set_ylabel(f"lift of HIT@3, {task}, %")
    axes.legend(fontsize=8)


def what_each_part_adds(axes: Axes, report: Report) -> None:
    """AUC of every row of the fusion benchmark, for its first task."""
    rows = {name: row["seeds"] for name, row in report["rows"].items()}
    task = next(iter(_metrics(rows["no_tower"])))
    names = list(rows)
    for i, name in enumerate(names):
        values = [run[task]["auc"] for run in rows[name].values()]
        axes.errorbar([statistics.mean(values)], [i], xerr=[_spread(values)], fmt="o", color="C0", capsize=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"AUC, {task} (mean and standard deviation over seeds)")


def quality_over_pretraining(axes: Axes, report: Report) -> None:
    """Validation NDCG@10 after each checkpoint of the leave-one-out benchmark's long rows."""
    rows = {name: row for name, row in report["rows"].items() if any(run["curve"] for run in row["seeds"].values())}
    for name, row in rows.items():
        for seed, run in row["seeds"].items():
            steps = sorted(run["curve"], key=int)
            label = name if seed == next(iter(row["seeds"])) else None
            color = f"C{list(rows).index(name) % 10}"
            axes.plot([int(step) for step in steps], [run["curve"][step] for step in steps], color=color, label=label)
    axes.set_xlabel("steps of pretraining")
    axes.set_ylabel("validation NDCG@10")
    axes.legend(fontsize=7, ncols=2)


FIGURES: dict[str, Callable[[Axes, Report], None]] = {
    "cold_start_simulate": lift_by_item_age,
    "cold_start_movietweetings": lift_by_item_age,
    "fusion_kuairand": what_each_part_adds,
    "fusion_ml1m_ranking": what_each_part_adds,
    "movielens": quality_over_pretraining,
}


def _metrics(seeds: Report) -> Report:
    first: Report = next(iter(seeds.values()))
    return first


def _hit3(seeds: Report, task: str, age: str | None) -> dict[str, float]:
    """By seed, where there is one: requests with such an item may be missing."""
    found = {seed: (run[task] if age is None else run[task]["by_age"][age])["hit3"] for seed, run in seeds.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def _bars(axes: Axes, place: int, of: int, values: Sequence[Sequence[float]], label: str) -> None:
    width = 0.8 / of
    x = [i - 0.4 + width * (place + 0.5) for i in range(len(values))]
    means = [statistics.mean(v) if v else 0.0 for v in values]
    axes.bar(x, means, width, yerr=[_spread(v) for v in values], label=label, capsize=2)


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
