"""Where the first candidate of a request that received the action stands: HIT@k, and the mean reciprocal rank.

Legend: N rows (candidates), R tied runs, F the runs that hold the first positives, G requests.
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

    A request of one candidate ranks nothing, so none of the three reads it: its candidate is first under any ranker,
    and a hit wherever it received the action, which would measure the base rate. `requests_single` are so many.

    Returns:
        With k = 3, each NaN where there is no such request:
        `hit3`: mean over the `requests_contested` requests with a positive in the slice and a rival, which reads as a
            recall. A request without a positive is a miss for any ranker.
        `hit3_all`: mean over the requests with a candidate in the slice and a rival (`requests` but
            `requests_single`): the paper's definition, of requests that rank.
        `hit3_hard`: mean over the `requests_hard` requests with a positive in the slice and more than k
            candidates. With k or fewer, any ranker hits.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"k ({k}) must be at least 1")
    runs = of.runs
    hit_G = expected_hits(runs, of.positive_N, k)
    ranks_G = runs.group_size_G > 1
    present_G = runs.sum_by_group(runs.count(of.member_N)) > 0
    positive_G = runs.sum_by_group(runs.count(of.positive_N)) > 0
    hard_G = positive_G & ranks_G & (runs.group_size_G > k)
    return {
        f"hit{k}": float(hit_G[positive_G & ranks_G].mean()),
        f"hit{k}_all": float(hit_G[present_G & ranks_G].mean()),
        f"hit{k}_hard": float(hit_G[hard_G].mean()),
        "requests": int(present_G.sum()),
        "requests_single": int((present_G & ~ranks_G).sum()),
        "requests_positive": int(positive_G.sum()),
        "requests_hard": int(hard_G.sum()),
    }


def reciprocal_rank_metrics(of: TaskSlice) -> dict[str, float]:
    """Mean reciprocal rank of one task, over the whole data or a slice of the items.

    Args:
        of: the slice; its `runs` and `positive_N` are read, so that rivals outside the slice stay.

    Returns:
        `mrr`: mean of 1 / place of the first positive of the slice, over the `requests_contested` requests that hold
        one and more than one candidate (a lone candidate is first under any ranker); NaN where there is none.
    """
    runs = of.runs
    contested_G = (runs.sum_by_group(runs.count(of.positive_N)) > 0) & (runs.group_size_G > 1)
    rank_G = expected_reciprocal_ranks(runs, of.positive_N)
    return {"mrr": float(rank_G[contested_G].mean()), "requests_contested": int(contested_G.sum())}


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


def expected_reciprocal_ranks(runs: TiedRuns, y_N: Tensor) -> Tensor:
    """Mean of 1 / place of the first positive when tied candidates stand in random order.

    It stands in the best run that holds a positive. Of t tied candidates, b of them positive, the one at place j + 1 of
    the run is positive with probability b / (t - j) if none before it was.

    Args:
        runs: candidates grouped by request.
        y_N: bool, in the original row order.

    Returns:
        float64 `[G]`, in [0, 1]; 0 where a request has no positive.
    """
    positives_R = runs.count(y_N)
    above_R = torch.where(positives_R > 0, runs.above_R, runs.order_N.numel())  # beyond every place without a positive
    best_G = above_R.new_full(runs.group_size_G.shape, runs.order_N.numel()).scatter_reduce_(
        0, runs.group_R, above_R, "amin"
    )
    first_R = (positives_R > 0) & (runs.above_R == best_G[runs.group_R])
    above_F, size_F, positives_F = runs.above_R[first_R], runs.size_R[first_R], positives_R[first_R]
    rank_F, none_yet_F = torch.zeros_like(size_F, dtype=torch.float64), torch.ones_like(size_F, dtype=torch.float64)
    for place in range(int((size_F - positives_F).max()) + 1 if size_F.numel() else 0):
        here_F = (positives_F / (size_F - place).clamp(min=1).double()).clamp(max=1)
        rank_F += none_yet_F * here_F / (above_F + place + 1)
        none_yet_F *= 1 - here_F
    return rank_F.new_zeros(runs.group_size_G.shape).index_add_(0, runs.group_R[first_R], rank_F)
