"""Slices of the impressions by item age: a fresh item has little but its content to be known by."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pinfm.model.item_ages import AgeThresholds
from pinfm.train.metrics.inputs import Array, Impressions
from pinfm.train.metrics.ties import TiedRuns, tied_runs

UNSEEN = "unseen"


@dataclass(frozen=True, kw_only=True)
class TaskSlice:
    """One task in a slice of the items, in the two views that metrics read.

    A metric that judges candidates one by one (AUC, log loss) reads the rows of the slice, suffix S. A metric that
    judges lists (HIT@k) reads whole requests, suffix N: a slice restricts the ANSWERS, not the contest. The candidates
    of a request compete as they did when it was served, and only positives in the slice can be found, so no slice gets
    easier by losing its rivals.

        candidates of one request   a  b  c  d      in the slice: a, d
        p_S, y_S                    a        d      AUC: a against d
        runs, positive_N            a  b  c  d      HIT@3: is a positive among a, d in the top 3 of all four?

    Attributes:
        p_S: floating, the task's probabilities.
        y_S: bool, the candidate received the action.
        user_id_S: int64.
        request_S: int64, equal for the candidates of one request.
        runs: all N candidates, grouped by request, best first.
        member_N: bool, the candidate belongs to the slice.
        positive_N: bool, it belongs to the slice and received the action.
    """

    p_S: Tensor
    y_S: Tensor
    user_id_S: Tensor
    request_S: Tensor
    runs: TiedRuns
    member_N: Tensor
    positive_N: Tensor


class TaskRows:
    """One task's rows, to be cut into slices.

    Args:
        p_N: floating, the task's probabilities.
        y_N: bool, the candidate received the action.
        rows: what the tasks share.
    """

    def __init__(self, p_N: Tensor, y_N: Tensor, rows: Impressions) -> None:
        self._p_N, self._y_N, self._rows = p_N, y_N, rows
        self._runs = tied_runs(p_N, rows.request_N)  # one sort for all slices

    def everything(self) -> TaskSlice:
        """All rows."""
        return self.cut(torch.ones_like(self._y_N))

    def cut(self, member_N: Tensor) -> TaskSlice:
        """The rows that are set in `member_N`, bool."""
        return TaskSlice(
            p_S=self._p_N[member_N],
            y_S=self._y_N[member_N],
            user_id_S=self._rows.user_id_N[member_N],
            request_S=self._rows.request_N[member_N],
            runs=self._runs,
            member_N=member_N,
            positive_N=self._y_N & member_N,
        )


def item_age_seconds(request_timestamp: Array, created_at: Array) -> Tensor:
    """Age of each candidate when it was shown.

    Args:
        request_timestamp: `[N]`, Unix seconds.
        created_at: `[N]`, Unix seconds; NaN where unknown.

    Returns:
        float64 `[N]`, whole seconds; NaN where unknown. Not days: dividing by 86,400 rounds, and not alike everywhere.
    """
    requested = torch.as_tensor(request_timestamp)
    return (requested - torch.as_tensor(created_at, device=requested.device)).double()


def age_groups(age_seconds_N: Tensor, thresholds: AgeThresholds) -> tuple[Tensor, Tensor, Tensor]:
    """Which items are young, middle-aged and old: bool `[N]` each.

    Args:
        age_seconds_N: float64; an item shown before its creation time (a coarse clock) has a negative age and
            is young; NaN belongs to no age.
        thresholds: what tells them apart.
    """
    young, old = thresholds
    young_N, old_N = age_seconds_N < young, age_seconds_N >= old
    return young_N, (age_seconds_N >= young) & ~old_N, old_N


def age_slices(age_seconds_N: Tensor, unseen_N: Tensor, thresholds: AgeThresholds) -> dict[str, Tensor]:
    """Cut the rows by age: young, middle, both, old, and across the ages what is `unseen`.

    Args:
        age_seconds_N: see `age_groups`.
        unseen_N: bool, the item never occurs in the training split.
        thresholds: what tells young, middle-aged and old items apart.

    Returns:
        The names of the thresholds, and `unseen` -> bool `[N]`.
    """
    young_N, middle_N, old_N = age_groups(age_seconds_N, thresholds)
    by_age = (young_N, middle_N, young_N | middle_N, old_N)
    return {**dict(zip(thresholds.names(), by_age, strict=True)), UNSEEN: unseen_N}
