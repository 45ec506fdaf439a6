r"""What does each interaction earn, and what does it cost? KuaiRand, MovieLens-1M as ranking, and a planted world.

    ./run python -m benchmarks.interactions --dataset kuairand --out runs/interactions --seeds 0 1 2 3 4 --write

Every form is tuned at the same two learning rates under the first seed, on the validation split, and trained under all
seeds at the better one. Beside the forms of `ranker.interaction` stand the compositions that the claims of arXiv
2412.01985 need. Runs that are finished are not made again.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from benchmarks.parts.pages import report_path, write_results
from benchmarks.parts.quality.claims import EXTRA_FORMS, claims_table
from benchmarks.parts.quality.interaction_data import DATASETS, config_of, known_of, prepared_data
from pinfm.train.cli.interactions import DEFAULT_FORMS
from pinfm.train.comparison.compare import compare
from pinfm.train.comparison.comparison import Comparison, Form
from pinfm.train.comparison.report.page import forms_table, notes, tasks_table
from pinfm.train.comparison.report.plot import draw
from pinfm.train.comparison.report.rows import Budget, Compared, make_rows
from pinfm.train.comparison.report.write import write_comparison
from pinfm.train.comparison.serving import Serving

PAGE = Path("docs/results/interactions.md")
BUDGET = Budget(memory_gib=2.0, latency_ms=20.0)
LEARNING_RATES = (0.001, 0.003)
# With 9.4 million multiplications a candidate, its runs would take longer than those of all others together;
# benchmarks.interaction_speed has what it costs.
LEFT_OUT = {"pinterest_full_rank"}
# The compositions that the claims need are trained on one real log, and in the world whose truth is known; the widest
# of them on the former alone.
CLAIMED_ON = {
    "kuairand": EXTRA_FORMS,
    "planted": {name: form for name, form in EXTRA_FORMS.items() if name != "pinterest_with_input"},
}
# What the paper began with.
BASELINE = "pinterest_baseline"


def main() -> None:
    """Runs what is missing, prints the tables, and writes them where --write asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(DATASETS), default="kuairand")
    parser.add_argument("--data", type=Path, help="the folder of ML-1M; the others need none")
    parser.add_argument("--out", type=Path, default=Path("runs/interactions"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--forms", nargs="+", help="to run, of the rows of this dataset; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="forms at a time, one thread each")
    parser.add_argument("--write", action="store_true", help="write the section of docs/results/interactions.md")
    args = parser.parse_args()
    if DATASETS[args.dataset].in_folder != (args.data is not None):
        parser.error("--data, the folder of ML-1M, goes with --dataset ml1m_ranking and with no other")
    forms = forms_of(args.dataset)
    if unknown := set(args.forms or ()) - set(forms):
        parser.error(f"--forms {min(unknown)} is no row of this dataset; take some of {', '.join(forms)}")
    data = prepared_data(args.dataset, args.data, args.out)
    comparison = Comparison(
        config=config_of(args.dataset),
        data=data,
        out=args.out / args.dataset / "comparison",
        forms={name: form for name, form in forms.items() if name in (args.forms or forms)},
        learning_rates=LEARNING_RATES,
        seeds=tuple(args.seeds),
    )
    compared = compare(comparison, Serving(), args.jobs)
    write_comparison(comparison.out, compared, BUDGET, BASELINE)
    compared |= known_of(args.dataset, data)
    text = section(args.dataset, compared)
    print(text)
    if args.write:
        write_results(PAGE, args.dataset, text, compared)
        picture = draw(make_rows(compared, BUDGET, BASELINE), BUDGET)
        report_path(PAGE, args.dataset).with_suffix(".svg").write_text(picture)


def forms_of(dataset: str) -> dict[str, Form]:
    """The rows of a dataset's table."""
    named: dict[str, Form] = {name: name for name in DEFAULT_FORMS if name not in LEFT_OUT}
    return named | CLAIMED_ON.get(dataset, {})


def section(dataset: str, compared: Compared) -> str:
    """What the page says of a dataset: the forms, the plot, the claims, and each task's AUC.

    Args:
        dataset: its name.
        compared: what `compare` returned, or the JSON file of the section.
    """
    rows = make_rows(compared, BUDGET, BASELINE)
    picture = f"![AUC against latency, {dataset}](interactions/{dataset}.svg)"
    told = notes(rows, BUDGET, BASELINE) + ceilings_as_text(compared.get("ceilings", {}))
    claims = claims_table(compared, DATASETS[dataset].claims_task)
    return "\n\n".join([forms_table(rows), told, picture, claims, tasks_table(rows)])


def ceilings_as_text(ceilings: Mapping[str, Mapping[str, float]]) -> str:
    """The best AUC that a model of each order can have, a line a task; nothing where it is not known.

    Args:
        ceilings: task -> `first_order`, `second_order` and `bayes` -> AUC.
    """
    lines = [
        f"\nThe best AUC on {task}: {of['bayes']:.4f}; of a model of second order {of['second_order']:.4f}, of first "
        f"order {of['first_order']:.4f}."
        for task, of in ceilings.items()
    ]
    return "".join(lines)


if __name__ == "__main__":
    main()
