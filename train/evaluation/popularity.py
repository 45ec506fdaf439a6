"""The baseline that knows no user: each item's rate of each action over the training impressions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import IntArray, list_column
from pinfm.train.evaluation.predictions import Predictions

# Impressions at the overall rate that every item starts with, so that one lucky impression is no certainty.
PRIOR_IMPRESSIONS = 10.0


class Popularity:
    """Smoothed action rates of items.

    Args:
        dataset: its train split is counted.
    """

    def __init__(self, dataset: PreparedDataset) -> None:
        tasks = dataset.info.schema.tasks
        item_parts, label_parts = [], []
        for bucket in range(dataset.info.num_buckets):
            requests = dataset.requests("train", bucket, ["item_id", *(f"label_{task}" for task in tasks)])
            item_parts.append(list_column(requests, "item_id")[0])
            label_parts.append(request_labels(requests, tasks))
        self.item_id, index = np.unique(np.concatenate(item_parts).astype(np.int64), return_inverse=True)
        labels = np.concatenate(label_parts)
        overall = labels.mean(axis=0)
        shown = np.bincount(index, minlength=len(self.item_id))[:, None]
        acted = np.stack([np.bincount(index, column, len(self.item_id)) for column in labels.T], axis=1)
        rates = (acted + PRIOR_IMPRESSIONS * overall) / (shown + PRIOR_IMPRESSIONS)
        self._rates = np.vstack([rates, overall]).astype(np.float32)

    def rates(self, ids_N: IntArray) -> npt.NDArray[np.float32]:
        """(N, tasks); the overall rate for items that training never showed."""
        rows = np.searchsorted(self.item_id, ids_N).clip(max=len(self.item_id) - 1)
        known = self.item_id[rows] == ids_N
        rates: npt.NDArray[np.float32] = self._rates[np.where(known, rows, len(self.item_id))]
        return rates

    def predictions(self, like: Predictions) -> Predictions:
        """The same candidates, scored by popularity."""
        return replace(like, probabilities=self.rates(like.item_id))


def request_labels(requests: pa.Table, tasks: Sequence[str]) -> npt.NDArray[np.float64]:
    """(candidates, tasks) labels of some requests, candidate after candidate."""
    return np.stack([list_column(requests, f"label_{task}")[0].astype(np.float64) for task in tasks], axis=1)
