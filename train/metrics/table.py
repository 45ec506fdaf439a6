"""The plain-text table that `quickstart` and `evaluate` print, and what has to be known to read it."""

import math
from collections.abc import Mapping
from typing import Any

from pinfm.train.metrics.report import REQUEST_METRICS

METRIC_COLUMNS = tuple(name for metric in REQUEST_METRICS for name in metric.shown)

# Ranker -> task -> metrics, as `ranking_metrics` returns them.
Report = Mapping[str, Mapping[str, Mapping[str, Any]]]


def metrics_table(report: Report) -> str:
    """Lay out a report with the rankers of one task under each other, where they are compared.

    Args:
        report: the metrics of every ranker.

    Returns:
        A heading, a rule and one line for each task and ranker, in the order of first occurrence; metrics with
        4 decimals, "-" where one is missing or None. No newline at the end.

    Example:
        >>> heading, rule, line = metrics_table({"fused": {"click": {"auc": 0.75, "gauc": None}}}).splitlines()
        >>> line.split()[:4]
        ['click', 'fused', '0.7500', '-']
    """
    tasks = dict.fromkeys(task for by_task in report.values() for task in by_task)
    rows = [
        [task, ranker, *(_number(by_task[task].get(name)) for name in METRIC_COLUMNS)]
        for task in tasks
        for ranker, by_task in report.items()
        if task in by_task
    ]
    heading = ["task", "ranker", *METRIC_COLUMNS]
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(len(heading))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in [heading, rule, *rows])


def metrics_notes(report: Report) -> list[str]:
    """Lines that belong under the table where its figures mislead: empty where they do not.

    Args:
        report: as of `metrics_table`.

    Example:
        >>> metrics_notes({"model": {"click": {"ne": 1.25}}})
        ['click, model: ne 1.2500 is above 1, so the mean rate for every candidate would predict better.']
    """
    easy = {}  # the requests of a task are the same under every ranker: one line
    lines = []
    for ranker, by_task in report.items():
        for task, metrics in by_task.items():
            positive, hard = metrics.get("requests_positive", 0), metrics.get("requests_hard", 0)
            if positive > 2 * hard:
                better = [name for name in ("hit3_hard", "mrr", "request_auc") if metrics.get(name) is not None]
                easy[task] = (
                    f"{task}: {positive - hard:,} of {positive:,} requests with a positive hold three candidates or "
                    f"fewer, which hit3 counts as found by any ranker; read {' and '.join(better or ['auc'])}."
                )
            auc, gauc, ne = (_value(metrics.get(name)) for name in ("auc", "gauc", "ne"))
            if ne > 1.0:
                lines.append(
                    f"{task}, {ranker}: ne {ne:.4f} is above 1, "
                    "so the mean rate for every candidate would predict better."
                )
            if auc > 0.5 > gauc:
                lines.append(
                    f"{task}, {ranker}: gauc {gauc:.4f} is below one half though auc is above, as it can be "
                    "where a ranker reads histories (docs/results.md); read auc and request_auc."
                )
    return [*easy.values(), *lines]


def _value(value: object) -> float:
    """A metric as a number; NaN, which no comparison holds of, where it is missing or undefined."""
    return float(value) if isinstance(value, int | float) else math.nan


def _number(value: object) -> str:
    return "-" if math.isnan(_value(value)) else f"{value:.4f}"


def _line(cells: list[str], widths: list[int]) -> str:
    names = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join(names + numbers)
