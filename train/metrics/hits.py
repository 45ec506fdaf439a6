"""HIT@k: whether one of the top k candidates of a request received the action.

Legend: N rows (candidates), R tied runs, G requests.
"""

import torch
from torch import Tensor

from pinfm.train.metrics.slices import TaskSlice
from pinfm.train.metrics.ties import TiedRuns


def hit_metrics(of: TaskSlice, k: int = 3) -> dict[str, float]:
    """HIT@k of one task, over the whole data or a slice of the items (PinFM, arXiv 2507.12704).

    Args:
        of: the slice; its `runs` and `positive_N` are read, so that rivals outside the slice stay.
        k: how many top candidates are looked at.

    Returns:
        With k = 3, each NaN where there is no such request:
        `hit3`: mean over the `requests_positive` requests with a positive in the slice, which reads as a recall.
            A request without one is a miss for any ranker: counting it would measure the base rate.
        `hit3_all`: mean over all `requests` with a candidate in the slice, the paper's definition to the letter.
        `hit3_hard`: mean over the `requests_hard` requests with a positive in the slice and more than k
            candidates. With k or fewer, any ranker hits.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k ({k}) must be at least 1")
    runs = of.runs
    hit_G = expected_hits(runs, of.positive_N, k)
    present_G = runs.sum_by_group(runs.count(of.member_N)) > 0
    positive_G = runs.sum_by_group(runs.count(of.positive_N)) > 0
    hard_G = positive_G & (runs.group_size_G > k)
    return {
        f"hit{k}": float(hit_G[positive_G].mean()),
        f"hit{k}_all": float(hit_G[present_G].mean()),
        f"hit{k}_hard": float(hit_G[hard_G].mean()),
        "requests": int(present_G.sum()),
        "requests_positive": int(positive_G.sum()),
        "requests_hard": int(hard_G.sum()),
    }


def expected_hits(runs: TiedRuns, y_N: Tensor, k: int) -> Tensor:
    """Probability of a positive among the top k when tied candidates stand in random order.

    A run of t tied candidates, b of them positive, that fills m of the top k places holds no positive there
    with probability C(t - b, m) / C(t, m) (hypergeometric). Only the run across place k has 0 < m < t; for the
    others this is 0 or 1.

    Args:
        runs: candidates grouped by request.
        y_N: bool, in the original row order.
        k: at least 1.

    Returns:
        float64 `[G]`, in [0, 1].
    """
    places_R = torch.minimum((k - runs.above_R).clamp(min=0), runs.size_R)
    negatives_R = runs.size_R - runs.count(y_N)
    miss_R = torch.ones_like(negatives_R, dtype=torch.float64)
    for place in range(k):
        odds_R = (negatives_R - place).clamp(min=0) / (runs.size_R - place).clamp(min=1).double()
        miss_R *= torch.where(place < places_R, odds_R, 1.0)
    miss_G = miss_R.new_ones(runs.group_size_G.numel())
    return 1 - miss_G.scatter_reduce_(0, runs.group_R, miss_R, "prod")
