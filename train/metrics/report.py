"""Every ranking metric of every task, as one JSON-ready dictionary. Legend: N rows, one an impression."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pinfm.train.metrics.hits import hit_metrics
from pinfm.train.metrics.inputs import Array, Impressions, check_impressions, check_tasks
from pinfm.train.metrics.ranking import auc, entropy_metrics, grouped_auc
from pinfm.train.metrics.slices import age_slices
from pinfm.train.metrics.ties import TiedRuns, tied_runs


def ranking_metrics(
    probabilities: Mapping[str, Array],
    labels: Mapping[str, Array],
    user_id: Array,
    request_index: Array,
    age_days: Array,
    unseen: Array,
) -> dict[str, dict[str, Any]]:
    """Judge one ranker on a split: each task, as a whole and by item age.

    Args:
        probabilities: task -> `[N]`, floating, in [0, 1].
        labels: task -> `[N]`, bool or 0 and 1; the same tasks.
        user_id: `[N]`, int64.
        request_index: `[N]`, int64, equal for the candidates of one request.
        age_days: `[N]`, age of the item at the time of the request, days; NaN where unknown.
        unseen: `[N]`, bool, the item never occurs in the training split.

    Returns:
        Task -> `impressions`, `positives`, `auc`, the values of `grouped_auc` by user, the AUC by request as
        `request_auc`, the values of `entropy_metrics` and `hit_metrics`, `impressions_age_unknown`, and `by_age`:
        slice name -> the same metrics of its rows (HIT@3 as `hit_metrics` defines it for a slice). An undefined
        metric is None, which JSON writes as null.

    Raises:
        UserError: a probability is NaN or outside [0, 1].
        ValueError: tasks, shapes or labels that do not fit together.

    Example:
        >>> import numpy as np
        >>> shared = dict(user_id=np.array([1, 1]), request_index=np.array([0, 0]))
        >>> item = dict(age_days=np.array([1.0, 40.0]), unseen=np.array([True, False]))
        >>> scores, clicks = {"click": np.array([0.9, 0.2])}, {"click": np.array([True, False])}
        >>> report = ranking_metrics(scores, clicks, **shared, **item)
        >>> report["click"]["auc"], report["click"]["by_age"]["unseen"]["auc"]
        (1.0, None)
    """
    tasks = check_tasks(probabilities, labels, len(user_id))
    device = next(iter(tasks.values()))[0].device
    rows = check_impressions(user_id, request_index, age_days, unseen, device)
    return {task: _task_report(p_N, y_N, rows) for task, (p_N, y_N) in tasks.items()}


def _task_report(p_N: Tensor, y_N: Tensor, rows: Impressions) -> dict[str, Any]:
    runs = tied_runs(p_N, rows.request_N)  # one sort for all slices: see hit_metrics
    everything_N = torch.ones_like(y_N)
    slices = age_slices(rows.age_days_N, rows.unseen_N)
    return {
        **_slice_report(p_N, y_N, rows, runs, everything_N),
        "impressions_age_unknown": int(rows.age_days_N.isnan().sum()),
        "by_age": {name: _slice_report(p_N, y_N, rows, runs, mask_N) for name, mask_N in slices.items()},
    }


def _slice_report(
    p_N: Tensor, y_N: Tensor, rows: Impressions, runs: TiedRuns, slice_N: Tensor
) -> dict[str, float | None]:
    p_S, y_S = p_N[slice_N], y_N[slice_N]
    metrics = {
        "impressions": y_S.numel(),
        "positives": int(y_S.sum()),
        "auc": auc(p_S, y_S),
        **grouped_auc(p_S, y_S, rows.user_id_N[slice_N]),
        "request_auc": grouped_auc(p_S, y_S, rows.request_N[slice_N])["gauc"],
        **entropy_metrics(p_S, y_S),
        **hit_metrics(runs, y_N, slice_N),
    }
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}
