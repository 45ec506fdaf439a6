"""HR@k and NDCG@k over the full catalogue, one target a query.

Legend: B queries of a batch, V items of the catalogue, E excluded pairs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.train.metrics.inputs import Array

Excluded = Array | Sequence[Array]


class RetrievalMetrics:
    """Accumulates HR@k and NDCG@k batch by batch, in float64.

    Exact with ties: when the target ties with t items below h strictly higher ones, it stands at each rank
    h..h + t with the same probability, and both metrics are the mean over them. A constant score thus earns
    k / V, and nothing from the order of the catalogue.

    Args:
        ks: the cut-offs, each at least 1.

    Raises:
        ValueError: no cut-off, or one below 1.

    Example:
        >>> import torch
        >>> metrics = RetrievalMetrics(ks=(1, 2))
        >>> metrics.update(torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([1]))
        >>> metrics.compute()["hr@1"], metrics.compute()["hr@2"]
        (0.0, 1.0)
    """

    def __init__(self, ks: Sequence[int] = (10, 50, 100)) -> None:
        if not ks or min(ks) < 1:
            raise ValueError(f"ks ({tuple(ks)}) must hold at least one cut-off, each at least 1")
        self.ks = tuple(ks)
        self._sums = {f"{name}@{k}": 0.0 for k in self.ks for name in ("hr", "ndcg")}
        self._queries = 0
        self._rank_sum = 0.0
        self._targets_excluded = 0

    def update(self, scores_BV: Array, target_B: Array, excluded: Excluded | None = None) -> None:
        """Add a batch of queries.

        Args:
            scores_BV: floating; higher is better; -inf is legal, NaN is not.
            target_B: int64 in [0, V), the item to be found.
            excluded: items that cannot be answers, such as those already seen: bool `[B, V]`, or B arrays of
                item indices (from a jagged list: `values.split(lengths.tolist())`). The target always stays in;
                how often it was listed is counted in `targets_excluded`.

        Raises:
            UserError: a score is NaN.
            ValueError: shapes that do not fit together, or an index outside the catalogue.
        """
        scores_BV = torch.as_tensor(scores_BV)
        target_B = torch.as_tensor(target_B, device=scores_BV.device).long()
        _check_batch(scores_BV, target_B)
        rival_BV = torch.ones_like(scores_BV, dtype=torch.bool)
        if excluded is not None:
            rival_BV &= ~_excluded_mask(excluded, scores_BV)
        query_B = torch.arange(target_B.numel(), device=scores_BV.device)
        self._targets_excluded += int((~rival_BV[query_B, target_B]).sum())
        rival_BV[query_B, target_B] = False
        score_B1 = scores_BV.gather(1, target_B[:, None])
        higher_B = ((scores_BV > score_B1) & rival_BV).sum(1)
        tied_B = ((scores_BV == score_B1) & rival_BV).sum(1)
        self._add(higher_B, tied_B)

    def add(self, other: "RetrievalMetrics") -> None:
        """Adds the queries of another, of the same cut-offs, as of another rank."""
        self._sums = {name: total + other._sums[name] for name, total in self._sums.items()}
        self._queries += other._queries
        self._rank_sum += other._rank_sum
        self._targets_excluded += other._targets_excluded

    def _add(self, higher_B: Tensor, tied_B: Tensor) -> None:
        self._queries += higher_B.numel()
        self._rank_sum += float((higher_B + tied_B / 2.0).double().sum())
        for k in self.ks:
            gain = {"hr": torch.ones(k, dtype=torch.float64), "ndcg": _discounts(k)}
            for name, gain_K in gain.items():
                mean_B = _mean_over_ranks(gain_K.to(higher_B.device), higher_B, tied_B)
                self._sums[f"{name}@{k}"] += float(mean_B.sum())

    def compute(self) -> dict[str, float | None]:
        """Average over the queries so far.

        Returns:
            `queries`, `targets_excluded`, `mean_rank` (0 is the best, ties at their middle), and `hr@k` and
            `ndcg@k` for each k; the averages are None before the first query.
        """
        report: dict[str, float | None] = {
            "queries": self._queries,
            "targets_excluded": self._targets_excluded,
        }
        for name, total in {"mean_rank": self._rank_sum, **self._sums}.items():
            report[name] = total / self._queries if self._queries else None
        return report


def _discounts(k: int) -> Tensor:
    """DCG gain of ranks 0..k-1; with one target the ideal DCG is 1 (Järvelin and Kekäläinen 2002)."""
    return 1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))


def _mean_over_ranks(gain_K: Tensor, higher_B: Tensor, tied_B: Tensor) -> Tensor:
    """Mean gain over the ranks higher..higher + tied, where ranks from K on gain nothing: float64 `[B]`."""
    k = gain_K.numel()
    cumulative = torch.cat([gain_K.new_zeros(1), gain_K.cumsum(0)])
    first_B, end_B = higher_B.clamp(max=k), (higher_B + tied_B + 1).clamp(max=k)
    return (cumulative[end_B] - cumulative[first_B]) / (tied_B + 1)


def _check_batch(scores_BV: Tensor, target_B: Tensor) -> None:
    if scores_BV.ndim != 2 or target_B.shape != scores_BV.shape[:1]:
        raise ValueError(
            f"scores_BV has shape {tuple(scores_BV.shape)} and target_B {tuple(target_B.shape)}; "
            "expected (B, V) and (B,)"
        )
    _check_indices("target_B", target_B, scores_BV.shape[1])
    if scores_BV.isnan().any():
        row, item = scores_BV.isnan().nonzero()[0].tolist()
        raise UserError(f"scores_BV[{row}, {item}] is NaN; the training diverged: lower the learning rate")


def _check_indices(name: str, index: Tensor, items: int) -> None:
    bad = index[(index < 0) | (index >= items)]
    if bad.numel():
        raise ValueError(f"{name} holds item index {int(bad[0])}; the catalogue has indices 0 to {items - 1}")


def _excluded_mask(excluded: Excluded, scores_BV: Tensor) -> Tensor:
    """Either form of `excluded` -> bool `[B, V]`."""
    device = scores_BV.device
    if isinstance(excluded, Tensor | np.ndarray):
        mask_BV = torch.as_tensor(excluded, device=device)
        if mask_BV.shape != scores_BV.shape or mask_BV.dtype != torch.bool:
            raise ValueError(
                f"excluded is {mask_BV.dtype} of shape {tuple(mask_BV.shape)}; expected torch.bool of shape "
                f"{tuple(scores_BV.shape)}, or one array of item indices a query"
            )
        return mask_BV
    if len(excluded) != scores_BV.shape[0]:
        raise ValueError(f"excluded has {len(excluded)} lists for {scores_BV.shape[0]} queries; pass one a query")
    lists = [torch.as_tensor(items, dtype=torch.int64, device=device) for items in excluded]
    item_E = torch.cat([*lists, torch.empty(0, dtype=torch.int64, device=device)])
    _check_indices("excluded", item_E, scores_BV.shape[1])
    lengths_B = torch.tensor([items.numel() for items in lists], dtype=torch.int64, device=device)
    query_E = torch.repeat_interleave(torch.arange(len(lists), device=device), lengths_B)
    mask_BV = torch.zeros_like(scores_BV, dtype=torch.bool)
    mask_BV[query_E, item_E] = True
    return mask_BV
