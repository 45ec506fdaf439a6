"""Slices of the impressions by item age: a fresh item has little but its content to be known by."""

import torch
from torch import Tensor

from pinfm.model.cold_start import OLD_DAYS, SECONDS_PER_DAY, YOUNG_DAYS
from pinfm.train.metrics.inputs import Array

AGE_SLICES = ("<7d", "7-28d", "<28d", ">=28d", "unseen")


def item_age_days(request_timestamp: Array, created_at: Array) -> Tensor:
    """Age of each candidate when it was shown.

    Args:
        request_timestamp: `[N]`, Unix seconds.
        created_at: `[N]`, Unix seconds; NaN where unknown.

    Returns:
        float64 `[N]`, days; NaN where unknown.
    """
    requested = torch.as_tensor(request_timestamp)
    return (requested - torch.as_tensor(created_at, device=requested.device)).double() / SECONDS_PER_DAY


def age_groups(age_days_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which items are under 7 days old, from 7 to 28, and older: bool `[N]` each.

    Args:
        age_days_N: floating; an item shown before its creation time (a coarse clock) has a negative age and
            is young; NaN belongs to no age.
    """
    young_N, old_N = age_days_N < YOUNG_DAYS, age_days_N >= OLD_DAYS
    return young_N, (age_days_N >= YOUNG_DAYS) & ~old_N, old_N


def age_slices(age_days_N: Tensor, unseen_N: Tensor) -> dict[str, Tensor]:
    """Cut the rows by age: young, middle, both, old, and across the ages what is `unseen`.

    Args:
        age_days_N: see `age_groups`.
        unseen_N: bool, the item never occurs in the training split.

    Returns:
        Name in AGE_SLICES -> bool `[N]`.
    """
    young_N, middle_N, old_N = age_groups(age_days_N)
    return dict(zip(AGE_SLICES, (young_N, middle_N, young_N | middle_N, old_N, unseen_N), strict=True))
