"""How much a ranked list changes: the overlap of two tops, and rank-biased overlap.

U  lists     C  items of each
"""

import torch
from torch import Tensor


def places(scores_UC: Tensor) -> Tensor:
    """(U, C) int64, the items of each list, best first; of equal scores the first stands first."""
    return torch.argsort(scores_UC, dim=1, descending=True, stable=True)


def place_of_first(scores_UC: Tensor) -> Tensor:
    """(U,) int64, from 1, where the first item of each list stands; of equal scores it stands first."""
    return 1 + (scores_UC > scores_UC[:, :1]).sum(1)


def overlap(ours_UC: Tensor, theirs_UC: Tensor, depth: int) -> Tensor:
    """(U,) the share of items that the tops of two rankings have in common.

    Args:
        ours_UC: items, best first, as `places` gives them.
        theirs_UC: the same items in another order.
        depth: of the tops.

    Example:
        >>> overlap(torch.tensor([[0, 1, 2, 3]]), torch.tensor([[1, 3, 0, 2]]), depth=2).tolist()
        [0.5]
    """
    return _shared(ours_UC, theirs_UC)[:, depth - 1] / depth


def rank_biased_overlap(ours_UC: Tensor, theirs_UC: Tensor, p: float = 0.9) -> Tensor:
    """(U,) RBO_ext of two rankings of the same length (Webber, Moffat and Zobel, TOIS 2010, equation 32).

    With X_d items in common among the first d, of k,

        RBO_ext = X_k / k p^k + (1 - p) / p sum_{d = 1}^{k} X_d / d p^d

    Args:
        ours_UC: items, best first.
        theirs_UC: the same number of items.
        p: how far down a reader goes on, in (0, 1); at 0.9 the first ten places have 86 % of the weight.

    Returns:
        float64: 1 for the same order, 0 for lists with no item in common.

    Raises:
        ValueError: p is not between 0 and 1.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"p ({p}) must lie between 0 and 1; 0.9 looks at the first ten places or so")
    depths_C = torch.arange(1, ours_UC.size(1) + 1, dtype=torch.float64)
    agreement_UC = _shared(ours_UC, theirs_UC) / depths_C
    weights_C = (1 - p) / p * p**depths_C
    return (agreement_UC * weights_C).sum(1) + agreement_UC[:, -1] * p ** float(depths_C[-1])


def _shared(ours_UC: Tensor, theirs_UC: Tensor) -> Tensor:
    """(U, C) float64: X_d, how many items the first d of both hold, d = 1 to C."""
    same_UCC = ours_UC[:, :, None] == theirs_UC[:, None, :]
    # Where an item stands in both, it is shared from the deeper of its two places on.
    depth_CC = torch.maximum(*torch.meshgrid(*(2 * [torch.arange(ours_UC.size(1))]), indexing="ij"))
    found_UC = torch.zeros(ours_UC.shape, dtype=torch.float64)
    found_UC.scatter_add_(1, depth_CC.flatten().expand(len(ours_UC), -1), same_UCC.flatten(1).double())
    return found_UC.cumsum(1)
