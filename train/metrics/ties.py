"""Rows sorted by score inside groups and cut into runs of equal score: what makes metrics exact with ties.

Constant and popularity scores tie everywhere, so a metric that lets the sort break ties measures the order of
the file. Both the grouped AUC (groups are users) and HIT@k (groups are requests) are computed from the runs.

Legend: N rows, R runs of tied rows, G groups. Nothing here loops over any of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TiedRuns:
    """Runs of equal score inside each group, best first.

        group      a a a a a b b
        score     .9.5.5.5.1.3.3
        run        0 1 1 1 2 3 3      above_R = 0 1 4 0, size_R = 1 3 1 2, group_R = 0 0 0 1

    Attributes:
        order_N: int64, the original row at each sorted position.
        run_N: int64, the run of each sorted position.
        group_R: int64, the group of each run, numbered 0..G-1 by ascending id.
        above_R: int64, how many rows of the group score strictly higher than the run.
        size_R: int64, rows in the run.
        group_size_G: int64, rows in the group.
    """

    order_N: Tensor
    run_N: Tensor
    group_R: Tensor
    above_R: Tensor
    size_R: Tensor
    group_size_G: Tensor

    def count(self, mask_N: Tensor) -> Tensor:
        """Count the set rows of `mask_N` (bool, original row order) in each run: int64 `[R]`."""
        return torch.zeros_like(self.size_R).index_add_(0, self.run_N, mask_N[self.order_N].long())

    def sum_by_group(self, values_R: Tensor) -> Tensor:
        """Sum a value of each run over its group: `[G]`, dtype of `values_R`."""
        total_G = values_R.new_zeros(self.group_size_G.numel())
        return total_G.index_add_(0, self.group_R, values_R)


def tied_runs(scores_N: Tensor, group_N: Tensor) -> TiedRuns:
    """Sort rows by group, then by descending score, and cut them into runs.

    Args:
        scores_N: floating, without NaN (NaN ties with nothing, itself included).
        group_N: int64 ids, in any order and with any gaps.

    Returns:
        The runs of all groups.

    Example:
        >>> import torch
        >>> runs = tied_runs(torch.tensor([0.1, 0.9, 0.5, 0.5]), torch.tensor([7, 7, 7, 7]))
        >>> runs.above_R.tolist(), runs.size_R.tolist()
        ([0, 1, 3], [1, 2, 1])
    """
    by_score_N = torch.argsort(scores_N, descending=True)
    order_N = by_score_N[torch.argsort(group_N[by_score_N], stable=True)]
    new_group_N = _changes(group_N[order_N])
    new_run_N = new_group_N | _changes(scores_N[order_N])
    first_R = new_run_N.nonzero().flatten()
    group_first_G = new_group_N.nonzero().flatten()
    group_R = new_group_N.cumsum(0)[first_R] - 1
    rows = first_R.new_tensor([scores_N.numel()])
    return TiedRuns(
        order_N=order_N,
        run_N=new_run_N.cumsum(0) - 1,
        group_R=group_R,
        above_R=first_R - group_first_G[group_R],
        size_R=first_R.diff(append=rows),
        group_size_G=group_first_G.diff(append=rows),
    )


def _changes(sorted_N: Tensor) -> Tensor:
    """Mark the first row and each row that differs from the one before."""
    changes_N = torch.ones_like(sorted_N, dtype=torch.bool)
    changes_N[1:] = sorted_N[1:] != sorted_N[:-1]
    return changes_N
