"""A comparison as Markdown."""

from collections.abc import Sequence

from pinfm.train.comparison.report.markdown import mean_and_spread, table
from pinfm.train.comparison.report.rows import Budget, Row, stability
from pinfm.train.comparison.report.statistics import Difference

HEADING = (
    *("form", "AUC", "to the baseline", "NE", "HIT@3", "HIT@3, more than three", "rate"),
    *("weights", "of the interaction", "training, MiB", "training, candidates/s", "p50, ms", "fits", "Pareto"),
)


def difference_as_text(difference: Difference | None) -> str:
    """`+0.0012 ± 0.0005`: mean and half of the 95 % interval; nothing of the baseline."""
    if difference is None:
        return ""
    half = "" if difference.half is None else f" ± {difference.half:.4f}"
    return f"{difference.mean:+.4f}{half}"


def forms_table(rows: Sequence[Row]) -> str:
    """The forms, the best AUC first."""
    return table(HEADING, [_line(row) for row in sorted(rows, key=lambda row: -row.auc)])


def tasks_table(rows: Sequence[Row]) -> str:
    """AUC of each task, in the same order."""
    tasks = list(rows[0].auc_of_task)
    lines = [
        [row.form, *(mean_and_spread(row.auc_of_task[task]) for task in tasks)]
        for row in sorted(rows, key=lambda row: -row.auc)
    ]
    return table(["form: AUC", *tasks], lines)


def notes(rows: Sequence[Row], budget: Budget, baseline: str) -> str:
    """What the table says, in sentences."""
    (num_seeds,) = {len(row.seeds["auc"]) for row in rows}
    pareto = [row for row in rows if row.pareto]
    tau = stability(rows)
    lines = [
        f"Mean over the tasks and {num_seeds} seeds of the test split; ± is the standard deviation over retraining "
        f"with the same data, and beside a difference to {baseline} half of its 95 % interval (paired by seed, "
        "Student's t).",
        f"The budget is {budget.memory_gib:g} GiB of training memory above what the process holds before it, and "
        f"{budget.latency_ms:g} ms for a request (p50). {sum(row.fits for row in rows)} of {len(rows)} forms fit; "
        "beaten by none of them in AUC, latency and memory at once: "
        f"{', '.join(row.form for row in pareto) or 'none'}.",
    ]
    if tau is not None:
        lines.append(f"Two seeds order the forms alike to Kendall's tau {tau:.2f} (mean over the pairs of seeds).")
    return "\n".join(lines)


def _line(row: Row) -> list[str]:
    metrics = [mean_and_spread(row.seeds[name]) for name in ("ne", "hit3", "hit3_hard")]
    return [
        row.form,
        mean_and_spread(row.seeds["auc"]),
        difference_as_text(row.difference),
        *metrics,
        f"{row.learning_rate:g}",
        f"{row.parameters:,}",
        f"{row.interaction_parameters:,}",
        f"{row.memory_mib:.0f}",
        f"{row.candidates_per_s:.0f}",
        f"{row.p50_ms:.1f}",
        "yes" if row.fits else "",
        "yes" if row.pareto else "",
    ]
