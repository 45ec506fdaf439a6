"""AUC, grouped AUC, log loss, normalised entropy and calibration of one task. Legend: N rows, R tied runs, G users."""

import math

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc
from torchrec.metrics.ne import compute_cross_entropy, compute_ne

from pinfm.train.metrics.ties import tied_runs

# torchrec's own clamp: a certain and wrong prediction costs 36 nats, and one that is right costs nothing.
EPSILON = torch.finfo(torch.float64).eps


def auc(p_N: Tensor, y_N: Tensor) -> float:
    """Area under the ROC curve; a tied pair counts one half.

    Args:
        p_N: floating, in [0, 1]: torchmetrics would take values outside for logits and squash them.
        y_N: bool.

    Returns:
        The area, NaN where only one class is present.
    """
    if not y_N.any() or y_N.all():
        return math.nan
    return float(binary_auroc(p_N, y_N.long(), validate_args=False))


def grouped_auc(p_N: Tensor, y_N: Tensor, user_id_N: Tensor) -> dict[str, float]:
    """Mean of the users' own AUCs, weighted by their impressions (Zhou et al. 2018, arXiv 1706.06978).

    `torchrec.metrics.gauc` does not fit: it breaks ties by the order of an unstable sort, leaves out users
    whose scores are all equal (their AUC is 0.5), weighs users alike, and pads each user to the longest. Here
    each positive takes the middle rank of its tied run (Mann-Whitney), in float64.

    Args:
        p_N: floating, without NaN.
        y_N: bool.
        user_id_N: int64.

    Returns:
        `gauc` (NaN where no user has both classes), the `gauc_users` and `gauc_impressions` it averages over,
        and `gauc_users_left_out`: users with positives only or negatives only, whose AUC is undefined.
    """
    runs = tied_runs(p_N, user_id_N)
    positives_R = runs.count(y_N)
    # Rank 1 is the lowest score: the middle of a run with `above` rows over it.
    rank_R = (runs.group_size_G[runs.group_R] - runs.above_R).double() - (runs.size_R - 1) / 2
    rank_sum_G = runs.sum_by_group(positives_R * rank_R)
    positives_G = runs.sum_by_group(positives_R).double()
    pairs_G = positives_G * (runs.group_size_G - positives_G)
    defined_G = pairs_G > 0
    auc_G = ((rank_sum_G - positives_G * (positives_G + 1) / 2) / pairs_G)[defined_G]
    weight_G = runs.group_size_G[defined_G]
    return {
        "gauc": float((auc_G * weight_G).sum() / weight_G.sum()),
        "gauc_users": int(defined_G.sum()),
        "gauc_users_left_out": int((~defined_G).sum()),
        "gauc_impressions": int(weight_G.sum()),
    }


def calibration(p_N: Tensor, y_N: Tensor) -> float:
    """Sum of the predictions over the positives, NaN without any (He et al. 2014).

    Args:
        p_N: floating, in [0, 1].
        y_N: bool.
    """
    return float(p_N.double().sum() / y_N.sum()) if y_N.any() else math.nan


def entropy_metrics(p_N: Tensor, y_N: Tensor) -> dict[str, float]:
    """Log loss, and normalised entropy: log loss over the entropy of these rows' base rate (He et al. 2014).

    Args:
        p_N: floating, in [0, 1]; clamped to float64's epsilon on each side.
        y_N: bool.

    Returns:
        `logloss` in nats (NaN without rows) and `ne`, which is 1 for a constant that equals the base rate, and
        NaN where only one class is present, because the entropy is then 0.
    """
    if not y_N.numel():
        return {"logloss": math.nan, "ne": math.nan}
    # A copy: torchrec clamps a float64 argument in place, and would write into the caller's tensor.
    label_N = y_N.double()
    bits = compute_cross_entropy(label_N, p_N.double().clone(), torch.ones_like(label_N), EPSILON).sum()
    rows, positives = label_N.new_tensor(label_N.numel()), label_N.sum()
    one_class = bool(y_N.all()) or not bool(y_N.any())
    ne = math.nan if one_class else float(compute_ne(bits, rows, positives, rows - positives, EPSILON))
    return {"logloss": float(bits / rows) * math.log(2), "ne": ne}
