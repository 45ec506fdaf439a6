"""Every ranking metric of every task, as one JSON-ready dictionary. Legend: N rows, one an impression.

REQUEST_METRICS is the one list of them: the keys of a report, the columns of the printed table and the table in
docs/results.md follow from it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pinfm.model.item_ages import PAPER_THRESHOLDS, AgeThresholds
from pinfm.train.metrics.hits import hit_metrics, reciprocal_rank_metrics
from pinfm.train.metrics.inputs import Array, Impressions, check_impressions, check_tasks, order_of
from pinfm.train.metrics.ranking import auc, calibration, entropy_metrics, grouped_auc
from pinfm.train.metrics.slices import TaskRows, TaskSlice, age_slices


@dataclass(frozen=True, kw_only=True)
class RequestMetric:
    """One measurement of a task, of one value or of several that come together.

    Args:
        measure: a slice of a task -> its values by name, NaN where undefined.
        told: name -> what it is, in the order of the report; the docs' table says the same.
        shown: names that have a column in the printed table.
        of_probabilities: reads more of a score than its order, and has no value where scores are no probabilities.
    """

    measure: Callable[[TaskSlice], Mapping[str, float]]
    told: Mapping[str, str]
    shown: tuple[str, ...] = ()
    of_probabilities: bool = False


REQUEST_METRICS = (
    RequestMetric(
        measure=lambda of: {"impressions": of.y_S.numel(), "positives": int(of.y_S.sum())},
        told={"impressions": "candidates that were shown", "positives": "those that received the action"},
    ),
    RequestMetric(
        measure=lambda of: {"auc": auc(of.p_S, of.y_S)},
        told={"auc": "area under the ROC curve, a tied pair counting one half"},
        shown=("auc",),
    ),
    RequestMetric(
        measure=lambda of: grouped_auc(of.p_S, of.y_S, of.user_id_S),
        told={
            "gauc": "mean of the AUC within each user, weighted by impressions",
            "gauc_users": "users in it: those with both positives and negatives",
            "gauc_users_left_out": "users with one of the two alone, who have no AUC",
            "gauc_impressions": "impressions of the users in it",
        },
        shown=("gauc",),
    ),
    RequestMetric(
        measure=lambda of: {"request_auc": grouped_auc(of.p_S, of.y_S, of.request_S)["gauc"]},
        told={"request_auc": "mean of the AUC within each request, weighted by impressions"},
        shown=("request_auc",),
    ),
    RequestMetric(
        measure=lambda of: entropy_metrics(of.p_S, of.y_S),
        told={
            "ne": "normalised entropy: log loss over that of the mean rate, so that 1 is what a constant has",
            "logloss": "mean cross-entropy in nats",
        },
        shown=("ne", "logloss"),
        of_probabilities=True,
    ),
    RequestMetric(
        measure=lambda of: {"calibration": calibration(of.p_S, of.y_S)},
        told={"calibration": "predicted positives for each that was one: above 1, the rows are overrated"},
        of_probabilities=True,
    ),
    RequestMetric(
        measure=hit_metrics,
        told={
            "hit3": "share of the requests with a positive and more than one candidate that have one among their top "
            "three",
            "hit3_all": "the same over all requests with more than one candidate, with a positive or without, as the "
            "paper has it",
            "hit3_hard": "the same over requests with a positive and more than three candidates: with three, any "
            "ranker hits",
            "requests": "requests with a candidate",
            "requests_single": "requests of one candidate, which no HIT@3 reads: it is first under any ranker",
            "requests_positive": "requests with a positive",
            "requests_hard": "requests with a positive and more than three candidates",
        },
        shown=("hit3", "hit3_hard"),
    ),
    RequestMetric(
        measure=reciprocal_rank_metrics,
        told={
            "mrr": "mean of 1 / place of the first positive, over requests with a positive and more than one candidate",
            "requests_contested": "those requests, which hit3 reads too",
        },
        shown=("mrr",),
    ),
)


def ranking_metrics(
    probabilities: Mapping[str, Array],
    labels: Mapping[str, Array],
    user_id: Array,
    request_index: Array,
    age_seconds: Array,
    unseen: Array,
    *,
    are_probabilities: bool = True,
    thresholds: AgeThresholds = PAPER_THRESHOLDS,
) -> dict[str, dict[str, Any]]:
    """Judge one ranker on a split: each task, as a whole and by item age.

    Args:
        probabilities: task -> `[N]`, floating, in [0, 1]; any but NaN where they are none.
        labels: task -> `[N]`, bool or 0 and 1; the same tasks.
        user_id: `[N]`, int64.
        request_index: `[N]`, int64, equal for the candidates of one request.
        age_seconds: `[N]`, age of the item at the time of the request, seconds; NaN where unknown.
        unseen: `[N]`, bool, the item never occurs in the training split.
        are_probabilities: off where a higher score is better and says no more; metrics that read more are None then.
        thresholds: what tells young, middle-aged and old items apart.

    Returns:
        Task -> every name of REQUEST_METRICS, `impressions_age_unknown`, and `by_age`: slice name -> the same metrics
        of the slice (see `TaskSlice`). An undefined metric is None, which JSON writes as null.

    Raises:
        UserError: a probability is NaN or outside [0, 1].
        ValueError: tasks, shapes or labels that do not fit together.

    Example:
        >>> import numpy as np
        >>> shared = dict(user_id=np.array([1, 1]), request_index=np.array([0, 0]))
        >>> item = dict(age_seconds=86_400 * np.array([1.0, 40.0]), unseen=np.array([True, False]))
        >>> scores, clicks = {"click": np.array([0.9, 0.2])}, {"click": np.array([True, False])}
        >>> report = ranking_metrics(scores, clicks, **shared, **item)
        >>> report["click"]["auc"], report["click"]["by_age"]["unseen"]["auc"]
        (1.0, None)
    """
    if not are_probabilities:
        probabilities = {task: order_of(scores) for task, scores in probabilities.items()}
    tasks = check_tasks(probabilities, labels, len(user_id))
    device = next(iter(tasks.values()))[0].device
    rows = check_impressions(user_id, request_index, age_seconds, unseen, device)
    slices = age_slices(rows.age_seconds_N, rows.unseen_N, thresholds)
    return {task: _task_report(p_N, y_N, rows, slices, are_probabilities) for task, (p_N, y_N) in tasks.items()}


def _task_report(
    p_N: Tensor, y_N: Tensor, rows: Impressions, slices: Mapping[str, Tensor], are_probabilities: bool
) -> dict[str, Any]:
    task = TaskRows(p_N, y_N, rows)
    return {
        **_slice_report(task.everything(), are_probabilities),
        "impressions_age_unknown": int(rows.age_seconds_N.isnan().sum()),
        "by_age": {name: _slice_report(task.cut(member_N), are_probabilities) for name, member_N in slices.items()},
    }


def _slice_report(of: TaskSlice, are_probabilities: bool) -> dict[str, float | None]:
    report: dict[str, float | None] = {}
    for metric in REQUEST_METRICS:
        if metric.of_probabilities and not are_probabilities:
            report |= dict.fromkeys(metric.told)
            continue
        values = metric.measure(of)
        report |= {name: None if math.isnan(values[name]) else values[name] for name in metric.told}
    return report
