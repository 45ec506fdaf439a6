"""Arrays from the caller -> checked tensors on one device. Legend: N rows, one an impression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError

Array = Tensor | np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Impressions:
    """The columns that every task shares.

    Attributes:
        user_id_N: int64.
        request_N: int64, equal for the candidates of one request.
        age_seconds_N: float64, seconds; NaN where the item's creation time is unknown.
        unseen_N: bool, the item never occurs in the training split.
    """

    user_id_N: Tensor
    request_N: Tensor
    age_seconds_N: Tensor
    unseen_N: Tensor


def check_impressions(
    user_id: Array, request_index: Array, age_seconds: Array, unseen: Array, device: torch.device
) -> Impressions:
    """Move the shared columns to `device` and check that they describe the same rows.

    Raises:
        ValueError: a column is not one-dimensional, or is longer or shorter than `user_id`.
    """
    columns = {
        "user_id": torch.as_tensor(user_id, device=device).long(),
        "request_index": torch.as_tensor(request_index, device=device).long(),
        "age_seconds": torch.as_tensor(age_seconds, device=device).double(),
        "unseen": torch.as_tensor(unseen, device=device).bool(),
    }
    for name, column in columns.items():
        _check_rows(name, column, columns["user_id"].numel())
    return Impressions(
        user_id_N=columns["user_id"],
        request_N=columns["request_index"],
        age_seconds_N=columns["age_seconds"],
        unseen_N=columns["unseen"],
    )


def check_tasks(
    probabilities: Mapping[str, Array], labels: Mapping[str, Array], rows: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Pair each task's probabilities with its labels.

    Args:
        probabilities: task -> `[N]`, floating, in [0, 1].
        labels: task -> `[N]`, bool or numbers that are 0 or 1; the same tasks.
        rows: N.

    Returns:
        Task -> (probabilities `[N]` in their own dtype, labels `[N]` bool on the same device).

    Raises:
        UserError: a probability is NaN or outside [0, 1].
        ValueError: no task, tasks that differ, a wrong shape, or a label other than 0 and 1.
    """
    if not probabilities or set(probabilities) != set(labels):
        raise ValueError(
            f"probabilities (tasks {sorted(probabilities)}) and labels (tasks {sorted(labels)}) must hold "
            "the same tasks, at least one"
        )
    checked = {}
    for task, values in probabilities.items():
        p_N = torch.as_tensor(values)
        y_N = torch.as_tensor(labels[task], device=p_N.device)
        _check_rows(f"probabilities[{task!r}]", p_N, rows)
        _check_rows(f"labels[{task!r}]", y_N, rows)
        checked[task] = (_check_probabilities(task, p_N), _check_labels(task, y_N))
    return checked


def order_of(scores: Array) -> Tensor:
    """Scores -> numbers in [0, 1) of the same order and with the same ties.

    Args:
        scores: `[N]`, infinite ones included.

    Returns:
        float64 `[N]`, on the CPU.

    Raises:
        ValueError: a score is NaN.
    """
    scores_N = torch.as_tensor(scores).cpu().numpy()
    if np.isnan(scores_N).any():
        raise ValueError(
            f"the score in row {np.flatnonzero(np.isnan(scores_N))[0]} is NaN, which has no place in an order"
        )
    place_N = np.unique(scores_N, return_inverse=True)[1]
    # By a power of two, which rounds nothing: no two places become one.
    return torch.from_numpy(np.ldexp(place_N.astype(np.float64), -len(place_N).bit_length()))


def _check_rows(name: str, values: Tensor, rows: int) -> None:
    if values.shape != (rows,):
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected ({rows},), one value a row of user_id")


def _check_probabilities(task: str, p_N: Tensor) -> Tensor:
    if not p_N.is_floating_point():
        raise ValueError(f"probabilities[{task!r}] has dtype {p_N.dtype}; expected a floating one")
    bad_N = ~((p_N >= 0) & (p_N <= 1))  # negated, so that NaN is bad
    if bad_N.any():
        row = int(bad_N.nonzero()[0])
        raise UserError(
            f"probabilities[{task!r}] holds {int(bad_N.sum())} values outside [0, 1], the first one "
            f"{float(p_N[row])} in row {row}; pass probabilities, not logits; if NaN, lower the learning rate"
        )
    return p_N


def _check_labels(task: str, y_N: Tensor) -> Tensor:
    bad_N = (y_N != 0) & (y_N != 1)
    if bad_N.any():
        row = int(bad_N.nonzero()[0])
        raise ValueError(f"labels[{task!r}] is {y_N[row].item()} in row {row}; labels must be 0 or 1")
    return y_N.bool()
