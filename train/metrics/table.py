"""The plain-text table that `quickstart` and `evaluate` print, and what has to be known to read it."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pinfm.train.metrics.report import REQUEST_METRICS

METRIC_COLUMNS = tuple(name for metric in REQUEST_METRICS for name in metric.shown)

# Rankers that count: there is nothing about their entropy that training could mend.
UNTRAINED = ("popularity", "live_popularity")

# Rankers that look at an item's last hours alone, whichever window a log has.
LIVE = ("live_popularity", "last_hour", "last_6_hours", "last_day", "last_week", "events_so_far", "freshest")

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
    return "\n".join(_laid_out([["task", "ranker", *METRIC_COLUMNS], *rows], names=2))


def retrieval_table(report: Mapping[str, Mapping[str, float | None]]) -> str:
    """Lay out rankers of the catalogue under each other, and above them how many queries there are.

    Args:
        report: ranker -> metrics, as `RetrievalMetrics` computes them.

    Returns:
        No newline at the end.

    Example:
        >>> found = {"queries": 7, "targets_excluded": 0, "mean_rank": 2.5, "hr@10": 0.5}
        >>> print(retrieval_table({"model": found}))
        7 queries; 0 targets were in the history
        ranker  mean_rank   hr@10
        ------  ---------  ------
        model      2.5000  0.5000
    """
    first = next(iter(report.values()))
    columns = [name for name in first if name not in ("queries", "targets_excluded")]
    rows = [[ranker, *(_number(of[name]) for name in columns)] for ranker, of in report.items()]
    told = f"{first['queries']:,} queries; {first['targets_excluded']:,} targets were in the history"
    return "\n".join([told, *_laid_out([["ranker", *columns], *rows], names=1)])


def metrics_notes(report: Report, read_histories: Collection[str] = ()) -> list[str]:
    """Lines that belong under the table where its figures mislead: empty where they do not.

    Args:
        report: as of `metrics_table`.
        read_histories: the rankers in it that read what a user did before, by a tower or by counts.

    Example:
        >>> metrics_notes({"model": {"click": {"requests": 9, "requests_single": 4}}})
        ['4 of 9 requests are of one candidate, which ranks nothing: hit3, mrr and request_auc leave them out.']
    """
    # The requests of a task are the same under every ranker.
    of_tasks = {task: metrics for by_task in report.values() for task, metrics in by_task.items()}
    return [
        *_short_requests(of_tasks),
        *_beaten(report),
        *_high_entropies(report),
        *_grouped_auc(report, read_histories),
    ]


def _short_requests(of_tasks: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    single = {(of["requests_single"], of["requests"]) for of in of_tasks.values() if of.get("requests_single")}
    for of_one, requests in sorted(single):
        yield (
            f"{of_one:,} of {requests:,} requests are of one candidate, which ranks nothing: hit3, mrr and request_auc "
            "leave them out."
        )
    for task, metrics in of_tasks.items():
        contested, hard = metrics.get("requests_contested", 0), metrics.get("requests_hard", 0)
        if contested > 2 * hard:
            better = [name for name in ("hit3_hard", "mrr", "request_auc") if metrics.get(name) is not None]
            yield (
                f"{task}: {contested - hard:,} of {contested:,} requests with a positive hold two or three candidates, "
                f"which hit3 counts as found by any ranker; read {' and '.join(better or ['auc'])}."
            )


def _beaten(report: Report) -> Iterator[str]:
    """A model that loses to what was known of an item at the request can't have seen it."""
    for task, metrics in report.get("model", {}).items():
        live = {ranker: _value(report[ranker][task].get("auc")) for ranker in LIVE if task in report.get(ranker, {})}
        better = {ranker: auc for ranker, auc in live.items() if auc > _value(metrics.get("auc"))}
        if better:
            best = max(better, key=better.__getitem__)
            yield (
                f"{task}: {best} alone has an AUC of {better[best]:.4f}, the model {metrics['auc']:.4f}: it lacks what "
                "is happening to its items now, or learns too little of it; prepare with --live-counts item, and take "
                "--config news."
            )


def _high_entropies(report: Report) -> Iterator[str]:
    for ranker, by_task in report.items():
        for task, metrics in by_task.items():
            if ranker not in UNTRAINED and _value(metrics.get("ne")) > 1.0:
                yield (
                    f"{task}, {ranker}: ne {metrics['ne']:.4f} is above 1, so the mean rate for every candidate would "
                    "predict better; train longer where the loss still falls, or else at lower learning rates, or on "
                    "newer days."
                )


def _grouped_auc(report: Report, read_histories: Collection[str]) -> Iterator[str]:
    """What a user did is one number for all candidates of a request, and another in the user's next one."""
    found = [
        (f"{task} {_value(metrics.get('gauc')):.4f}", _value(metrics.get("gauc")))
        for ranker in report
        if ranker in read_histories
        for task, metrics in report[ranker].items()
        if metrics.get("gauc") is not None
    ]
    if found:
        low = [text for text, gauc in found if gauc < 0.5]
        below = f" ({', '.join(low)})" if low else ""
        yield (
            "gauc compares a user's requests with each other, and what a ranker reads of a history is the same for all "
            "candidates of one request and changes between requests, where what a user did goes against what is left "
            f"to do: gauc may fall, even below one half{below}, while the ranker "
            "gets better; read auc and request_auc (docs/results.md)."
        )


def _value(value: object) -> float:
    """A metric as a number; NaN, which no comparison holds of, where it is missing or undefined."""
    return float(value) if isinstance(value, int | float) else math.nan


def _number(value: object) -> str:
    return "-" if math.isnan(_value(value)) else f"{value:.4f}"


def _laid_out(rows: list[list[str]], names: int) -> Iterator[str]:
    """Lines of a table, a rule under the first: so many columns of names to the left, then numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        cells = [
            cell.ljust(width) if i < names else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells)
