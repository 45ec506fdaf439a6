"""A split's candidates with a model's probabilities beside their labels."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from pinfm.model.item_ages import PAPER_THRESHOLDS, AgeThresholds
from pinfm.train.data.ragged import IntArray
from pinfm.train.distributed import is_first_rank
from pinfm.train.loader.arrays import RequestArrays
from pinfm.train.loader.feed import Feed
from pinfm.train.metrics import item_age_seconds, ranking_metrics
from pinfm.train.run_folder.parity import predict


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """N candidates of one split.

    Args:
        probabilities: (N, tasks); whatever is higher for a better candidate, where `are_probabilities` is off.
        labels: (N, tasks), 0 or 1.
        item_id: (N,).
        user_id: (N,).
        request_id: (N,).
        timestamp: (N,) of the request, Unix seconds.
        age_seconds: (N,) item's age at request time, seconds; NaN where unknown.
        are_probabilities: whether they say how likely the action is; what only orders has no entropy.
    """

    probabilities: npt.NDArray[np.floating]
    labels: npt.NDArray[np.float32]
    item_id: IntArray
    user_id: IntArray
    request_id: IntArray
    timestamp: IntArray
    age_seconds: npt.NDArray[np.float64]
    are_probabilities: bool = True

    def metrics(
        self, tasks: Sequence[str], seen_items: IntArray, thresholds: AgeThresholds = PAPER_THRESHOLDS
    ) -> dict[str, dict[str, object]]:
        """The ranking metrics of each task, also by item age.

        Args:
            tasks: names of the columns.
            seen_items: items of the training split's impressions.
            thresholds: what tells young, middle-aged and old items apart.
        """
        columns = range(len(tasks))
        return ranking_metrics(
            {tasks[i]: torch.from_numpy(self.probabilities[:, i]) for i in columns},
            {tasks[i]: torch.from_numpy(self.labels[:, i] > 0.5) for i in columns},
            torch.from_numpy(self.user_id),
            torch.from_numpy(np.unique(self.request_id, return_inverse=True)[1]),
            torch.from_numpy(self.age_seconds),
            torch.from_numpy(~np.isin(self.item_id, seen_items)),
            are_probabilities=self.are_probabilities,
            thresholds=thresholds,
        )


def predict_split(model: nn.Module, feed: Feed[RequestArrays], device: torch.device) -> Predictions:
    """Runs a model over this rank's share of a split.

    Args:
        model: the sharded module.
        feed: the split's requests, unshuffled.
        device: of this rank.
    """
    parts = []
    steps = feed.arrays(0, feed.steps_per_epoch)
    for arrays in tqdm(steps, total=feed.steps_per_epoch, unit="batch", disable=None if is_first_rank() else True):
        parts.append(_with_labels(arrays, predict(model, feed.collate(arrays), device)))
    return _join(parts)


def _with_labels(arrays: RequestArrays, probabilities: npt.NDArray[np.float32]) -> Predictions:
    owner = np.repeat(np.arange(len(arrays.user_id)), arrays.candidate_lengths)
    timestamp = arrays.request_timestamp[owner]
    ages = item_age_seconds(torch.from_numpy(timestamp), torch.from_numpy(arrays.created_at))
    return Predictions(
        probabilities=probabilities,
        labels=arrays.labels,
        item_id=arrays.item_id,
        user_id=arrays.user_id[owner],
        request_id=arrays.request_id[owner],
        timestamp=timestamp,
        age_seconds=ages.numpy(),
    )


def _join(parts: list[Predictions]) -> Predictions:
    columns = [f.name for f in fields(Predictions) if f.name != "are_probabilities"]
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return Predictions(**joined)
