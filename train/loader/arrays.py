"""What one stream gives to a step, as numpy arrays, and how the streams of a rank are put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pinfm.train.data.ragged import IntArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class HistoryArrays:
    """T events of U requests or segments; see `pinfm.model.History`."""

    lengths: IntArray
    item_id: IntArray
    action: IntArray
    surface: IntArray
    timestamp: IntArray


@dataclass(frozen=True, kw_only=True)
class SegmentArrays:
    """Segments of users' events.

    Args:
        history: the events.
        user_id: (S,) of each segment.
        ahead: (T, R) how far ahead the targets of L_mtl stand.
        drawn: (K,) item ids drawn from the catalogue to compare with; an id may stand there twice.
        hidden: (T,) bool, events whose items the masked-event loss hides.
        half: (T,) bool, events of one of the two views that the contrastive loss compares; the rest are the other's.
        unmet: (T, Q) item ids of other events, to be offered beside each event's own.
    """

    history: HistoryArrays
    user_id: IntArray
    ahead: IntArray
    drawn: IntArray
    hidden: BoolArray
    half: BoolArray
    unmet: IntArray


@dataclass(frozen=True, kw_only=True)
class RequestArrays:
    """Requests with their histories and candidates.

    Args:
        history: events; requests that follow each other may share a history and see a prefix of it each.
        opens_history: (U,) bool, whether a request is the first to read its history.
        visible: (U,) events of its history that a request sees: those before it.
        request_id: (U,).
        user_id: (U,).
        request_timestamp: (U,).
        candidate_lengths: (U,).
        item_id: (N,) candidates.
        embedded_item_id: (N,) the ids to look up, which candidate id randomisation may have replaced.
        created_at: (N,).
        content: (N, K).
        categorical: name -> (U,) or (N,) int64.
        request_dense: (U, M_r) raw values.
        candidate_dense: (N, M_c) raw values.
        labels: (N, tasks) float32.
    """

    history: HistoryArrays
    opens_history: BoolArray
    visible: IntArray
    request_id: IntArray
    user_id: IntArray
    request_timestamp: IntArray
    candidate_lengths: IntArray
    item_id: IntArray
    embedded_item_id: IntArray
    created_at: IntArray
    content: npt.NDArray[np.float32]
    categorical: Mapping[str, IntArray]
    request_dense: npt.NDArray[np.float32]
    candidate_dense: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]


A = TypeVar("A")


def concatenate(parts: Sequence[A]) -> A:
    """Puts the parts of several streams together, array by array."""
    first: Any = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)  # type: ignore[arg-type, return-value]
    if isinstance(first, Mapping):
        return {key: concatenate([part[key] for part in parts]) for key in first}  # type: ignore[index, return-value]
    joined = {f.name: concatenate([getattr(part, f.name) for part in parts]) for f in fields(first)}
    return type(first)(**joined)  # type: ignore[no-any-return]
