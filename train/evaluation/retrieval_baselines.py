"""Rankers of the catalogue that no tower is needed for, asked for the same next items as the tower is.

Legend: B queries of a batch, V items of the catalogue, E positive events, P pairs of items.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import IntArray, scalar_column
from pinfm.train.evaluation.live import RECENT
from pinfm.train.evaluation.queries import Queries, Scorer, bucket_events

# Of a window that tells items apart: of fewer events, chance decides who is among the first ten.
ENOUGH_EVENTS = 1000


def retrieval_baselines(dataset: PreparedDataset, catalogue: IntArray) -> dict[str, Scorer]:
    """What a tower has to beat.

    Args:
        dataset: all its positive events are held in memory, 16 bytes each.
        catalogue: item ids, ascending.

    Returns:
        `popularity`: positive events on the item in training.
        One of RECENT: positive events on it in so long before the target, strictly before its second: the shortest
            window that held ENOUGH_EVENTS on average over the training days.
        `last_item`: how often it was the next positive event after the newest item of the history, in training;
            popularity breaks ties.
    """
    popularity = scalar_column(dataset.items(), "event_count").astype(np.float64)
    times, items, pairs = [], [], []  # of the events of each bucket
    for bucket in range(dataset.info.num_buckets):
        events = bucket_events(dataset, bucket)
        item = np.searchsorted(catalogue, events["item_id"])
        positive = np.isin(events["action"], dataset.info.schema.positive_codes())
        times.append(events["timestamp"][positive])
        items.append(item[positive])
        training = dataset.are_training(events[dataset.split_column])
        follows = positive[1:] & (np.diff(events["user_id"]) == 0) & training[1:]
        pairs.append(item[:-1][follows] * len(catalogue) + item[1:][follows])
    time_E, item_E = np.concatenate(times), np.concatenate(items)
    in_order = np.argsort(time_E, kind="stable")
    name = window_of(time_E[time_E < dataset.info.train_end])
    return {
        "popularity": lambda queries: torch.from_numpy(popularity).repeat(len(queries.target_B), 1),
        name: RecentPopularity(time_E[in_order], item_E[in_order], len(catalogue), RECENT[name]),
        "last_item": LastItem(catalogue, np.concatenate(pairs), popularity),
    }


def window_of(time_E: IntArray) -> str:
    """The shortest window that held enough events on average."""
    span = max(1, int(np.ptp(time_E))) if len(time_E) else 1
    fits = [name for name, seconds in RECENT.items() if seconds and len(time_E) * seconds >= ENOUGH_EVENTS * span]
    return fits[0] if fits and span >= (RECENT[fits[0]] or 0) else "events_so_far"


class RecentPopularity:
    """Positive events on each item in a window before the target.

    Args:
        time_E: of the events, ascending.
        item_E: the place of each event's item in the catalogue.
        num_items: V.
        seconds: length of the window; None for all that was before.
    """

    def __init__(self, time_E: IntArray, item_E: IntArray, num_items: int, seconds: int | None) -> None:
        self._time_E, self._item_E, self._num_items, self._seconds = time_E, item_E, num_items, seconds

    def __call__(self, queries: Queries) -> Tensor:
        """(B, V) counts: of one query after the other in time, so that the window slides and is not counted anew."""
        time_B = queries.events["timestamp"][queries.target_B]
        end_B = np.searchsorted(self._time_E, time_B)
        start_B = (
            np.zeros_like(end_B) if self._seconds is None else np.searchsorted(self._time_E, time_B - self._seconds)
        )
        scores_BV = np.empty((len(time_B), self._num_items), dtype=np.int64)
        order = np.argsort(time_B, kind="stable")
        counts_V = np.zeros(self._num_items, dtype=np.int64)
        start = end = start_B[order[0]] if len(order) else 0
        for b in order:
            np.add.at(counts_V, self._item_E[end : end_B[b]], 1)
            np.subtract.at(counts_V, self._item_E[start : start_B[b]], 1)
            start, end = start_B[b], end_B[b]
            scores_BV[b] = counts_V
        return torch.from_numpy(scores_BV.astype(np.float64))


class LastItem:
    """What most often came after the newest item of the history.

    Args:
        catalogue: item ids, ascending.
        pairs: previous item x V + next item, of each time that one came after the other.
        popularity: (V,) breaks ties, and ranks what never came after it.
    """

    def __init__(self, catalogue: IntArray, pairs: IntArray, popularity: npt.NDArray[np.float64]) -> None:
        self._catalogue = catalogue
        self._pair_P, self._count_P = np.unique(pairs, return_counts=True)
        self._below_one = popularity / (popularity.max(initial=0.0) + 1)

    def __call__(self, queries: Queries) -> Tensor:
        """(B, V) how often, and below the point the popularity."""
        num_items = len(self._catalogue)
        newest_B = np.searchsorted(self._catalogue, queries.events["item_id"][queries.target_B - 1])
        start_B, end_B = (np.searchsorted(self._pair_P, (newest_B + i) * num_items) for i in range(2))
        scores_BV = np.tile(self._below_one, (len(newest_B), 1))
        for b, (start, end) in enumerate(zip(start_B, end_B, strict=True)):
            scores_BV[b, self._pair_P[start:end] % num_items] += self._count_P[start:end]
        return torch.from_numpy(scores_BV)
