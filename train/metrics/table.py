"""The plain-text table that `quickstart` and `evaluate` print."""

from collections.abc import Mapping

METRIC_COLUMNS = ("auc", "gauc", "request_auc", "ne", "logloss", "hit3", "hit3_hard")


def metrics_table(report: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    """Lay out a report with the rankers of one task under each other, where they are compared.

    Args:
        report: ranker -> task -> metrics, as `ranking_metrics` returns them.

    Returns:
        A heading, a rule and one line for each task and ranker, in the order of first occurrence; metrics with
        4 decimals, "-" where one is missing or None. No newline at the end.

    Example:
        >>> print(metrics_table({"fused": {"click": {"auc": 0.75, "ne": None}}}))
        task   ranker     auc  gauc  request_auc  ne  logloss  hit3  hit3_hard
        -----  ------  ------  ----  -----------  --  -------  ----  ---------
        click  fused   0.7500     -            -   -        -     -          -
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


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) and value == value else "-"


def _line(cells: list[str], widths: list[int]) -> str:
    names = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join(names + numbers)
