"""Compare the ranker's interactions on a dataset: what each earns, what it costs, and whether its gain survives
retraining.

Each form is tuned at the given learning rates, trained under several seeds and timed; OUT keeps every finished run, so
that a comparison that was stopped goes on by the same command, and forms and seeds can be added to it.
"""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError, require_at_least
from pinfm.model.ranking.interactions.table import COMPOSITIONS, FORMS
from pinfm.train.cli.auto import tell_auto
from pinfm.train.cli.flags.lists import number_list
from pinfm.train.cli.flags.words import name_list
from pinfm.train.cli.run_flags import add_config_flags, run_config
from pinfm.train.comparison.comparison import Comparison, parse_forms, require_splits
from pinfm.train.comparison.report.rows import Budget
from pinfm.train.comparison.serving import Serving
from pinfm.train.run_folder.place import Place, require_finetuning

# "input" passes on what it reads: a part of compositions, and no interaction.
DEFAULT_FORMS = [*(name for name in FORMS if name != "input"), *COMPOSITIONS]
SUMMARY = "the ranker's interactions compared: quality, cost, spread over retraining"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset with all three splits")
    parser.add_argument(
        "--out", type=Path, required=True, help="the folder of the comparison; one that is there goes on"
    )
    parser.add_argument(
        "--forms",
        type=str,
        nargs="+",
        default=DEFAULT_FORMS,
        help="names of interactions, and compositions such as '{stacked: [gdcn, gdcn]}' or 'name={...}'",
    )
    parser.add_argument("--seeds", type=int, default=5, help="how often each form is trained; the first seed is --seed")
    parser.add_argument(
        "--learning-rates",
        type=number_list,
        nargs="+",
        default=[0.001, 0.003],
        help="of the dense weights, tried for each form",
    )
    parser.add_argument(
        "--baseline",
        type=str | None,
        default=None,
        help="what the others are compared with; default: the config's interaction, or else the first form",
    )
    parser.add_argument("--memory-gib", type=float, default=2.0, help="budget: training memory above the floor")
    parser.add_argument("--latency-ms", type=float, default=20.0, help="budget: p50 of a request")
    parser.add_argument("--candidates", type=int, default=1000, help="of each timed request")
    parser.add_argument("--jobs", type=int, default=1, help="forms trained at a time, one thread each")
    parser.add_argument(
        "--pretrained", type=Path | None, default=None, help="a pretraining run that every run starts from"
    )
    add_config_flags(parser)


def run(args: Namespace) -> dict[str, Any]:
    """Compares, prints the table, and writes OUT/interactions.json, .md and .svg."""
    require_at_least("", 1, seeds=args.seeds, jobs=args.jobs)
    # A composition has commas of its own.
    words = [form for word in args.forms for form in ([word] if "{" in word else name_list(word))]
    rates = tuple(rate for part in args.learning_rates for rate in number_list(part))
    config, forms = run_config(args), parse_forms(words)
    budget = Budget(memory_gib=args.memory_gib, latency_ms=args.latency_ms)
    serving = Serving(candidates=args.candidates)
    require_finetuning(config, Place(data=args.data, out=args.out, pretrained=args.pretrained))
    require_splits(args.data)
    comparison = Comparison(
        config=config,
        data=args.data,
        out=args.out,
        forms=forms,
        learning_rates=rates,
        seeds=tuple(range(config.seed, config.seed + args.seeds)),
        pretrained=args.pretrained,
    ).joined()
    baseline = chosen_baseline(args.baseline, comparison)
    tell_auto(args, config, args.out, leave_out="pretrain.")

    from pinfm.train.comparison.compare import compare
    from pinfm.train.comparison.report.page import forms_table, notes
    from pinfm.train.comparison.report.rows import make_rows
    from pinfm.train.comparison.report.write import write_comparison

    compared = compare(comparison, serving, args.jobs)
    rows = make_rows(compared, budget, baseline)
    report = write_comparison(args.out, compared, budget, baseline)
    print("\n\n".join([forms_table(rows), notes(rows, budget, baseline)]))
    print(f"\nthe table, each task's and a plot are in {args.out}/interactions.md")
    return report


def chosen_baseline(named: str | None, comparison: Comparison) -> str:
    """The form that the others are compared with.

    Args:
        named: by --baseline.
        comparison: its config's own interaction is the baseline where it is among the forms; else the first form is.

    Raises:
        UserError: no form is called so.
    """
    if named is not None and named not in comparison.forms:
        raise UserError(f"--baseline {named} is none of the forms; take one of {', '.join(comparison.forms)}.")
    own = [name for name, form in comparison.forms.items() if form == comparison.config.ranker.interaction]
    return named or (own or list(comparison.forms))[0]
