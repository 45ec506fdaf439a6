"""Baselines that know no user, but what had happened to an item by the moment of a request: strictly before its second.

Legend: N candidates, Q the same ones ascending in item and time, C columns of what is counted, W windows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pinfm.model.schema import InputSchema
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS
from pinfm.train.data.live.past import counts_before
from pinfm.train.data.ragged import IntArray, list_column, scalar_column
from pinfm.train.evaluation.popularity import PRIOR_IMPRESSIONS, request_labels
from pinfm.train.evaluation.predictions import Predictions

# Shortest first. News lives for hours, films for years: the first one in which things happen is taken.
RECENT: Mapping[str, int | None] = {
    "last_hour": 3600,
    "last_6_hours": 6 * 3600,
    "last_day": 86_400,
    "last_week": 7 * 86_400,
    "events_so_far": None,
}


@dataclass(frozen=True)
class Asked:
    """Candidates as questions, in the order in which they are answered fastest.

    Args:
        item_id: the distinct items, ascending; the place of one is its code.
        code_Q: of each candidate.
        time_Q: of its request.
        order_Q: the candidate that each question stands for.
    """

    item_id: IntArray
    code_Q: IntArray
    time_Q: IntArray
    order_Q: IntArray

    @classmethod
    def of(cls, candidates: Predictions) -> "Asked":
        """The questions of all candidates."""
        item_id, code_N = np.unique(candidates.item_id, return_inverse=True)
        order_Q = np.lexsort((candidates.timestamp, code_N))
        return cls(item_id, code_N[order_Q], candidates.timestamp[order_Q], order_Q)

    def codes(self, ids: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """The code of each id, and whether it is one that is asked for."""
        code = np.searchsorted(self.item_id, ids).clip(max=len(self.item_id) - 1)
        return code, self.item_id[code] == ids


def live_baselines(dataset: PreparedDataset, candidates: Predictions) -> dict[str, Predictions]:
    """Scores the same candidates by what was known of their items when they were requested.

    Nothing of the request itself, of the feedback on it, or of a later second is read.

    Args:
        dataset: all of its impressions and events, of whatever split, are counted; a bucket at a time is in memory.
        candidates: of one split.

    Returns:
        `live_popularity`: the item's rate of the task so far, smoothed as that of training is; missing where the log
            does not say what was shown.
        One of RECENT: events on the item, of the task's own action, or positive ones where no action is called like
            the task. It is the shortest window in which half of the candidates had a positive event.
        `freshest`: the youngest item first.
        The scores of the last two are no probabilities.
    """
    asked = Asked.of(candidates)
    baselines = {}
    if dataset.info.candidates == "shown":
        rates = _rates_so_far(dataset, asked)
        baselines["live_popularity"] = replace(candidates, probabilities=_in_order(asked, rates))
    name, counts = _recent_events(dataset, asked)
    age_N1 = np.nan_to_num(candidates.age_seconds, nan=np.inf)[:, None]
    for ranker, scores in ((name, _in_order(asked, counts)), ("freshest", np.repeat(-age_N1, counts.shape[1], axis=1))):
        baselines[ranker] = replace(candidates, probabilities=scores, are_probabilities=False)
    return baselines


def _rates_so_far(dataset: PreparedDataset, asked: Asked) -> npt.NDArray[np.float64]:
    """(Q, tasks) smoothed rate of each item before each moment."""
    tasks = dataset.info.schema.tasks
    moments, moment_Q = np.unique(asked.time_Q, return_inverse=True)
    anything = np.zeros_like(moments)
    of_item, of_all = np.zeros((len(asked.code_Q), 1 + len(tasks))), np.zeros((len(moments), 1 + len(tasks)))
    for item_id, time, labels in _impressions(dataset):
        ones = np.ones((len(item_id), 1), dtype=np.int64)
        shown_acted = np.concatenate([ones, labels.astype(np.int64)], axis=1)
        of_all += counts_before(np.zeros_like(time), time, anything, moments, values_NK=shown_acted)[:, 0]
        code, known = asked.codes(item_id)
        of_item += counts_before(code[known], time[known], asked.code_Q, asked.time_Q, values_NK=shown_acted[known])[
            :, 0
        ]
    # One impression of each kind before the first: the first request's rates are 1/2, and not 0 / 0.
    overall = (of_all[:, 1:] + 1) / (of_all[:, :1] + 2)
    rates: npt.NDArray[np.float64] = of_item[:, 1:] + PRIOR_IMPRESSIONS * overall[moment_Q]
    return rates / (of_item[:, :1] + PRIOR_IMPRESSIONS)


def _impressions(dataset: PreparedDataset) -> Iterator[tuple[IntArray, IntArray, npt.NDArray[np.float64]]]:
    """Item, second and labels of every impression, a bucket of a split after the other."""
    tasks = dataset.info.schema.tasks
    columns = ["timestamp", "item_id", *(f"label_{task}" for task in tasks)]
    for split in SPLITS:
        for bucket in range(dataset.info.num_buckets):
            requests = dataset.requests(split, bucket, columns)
            item_id, lengths = list_column(requests, "item_id")
            time = np.repeat(scalar_column(requests, "timestamp").astype(np.int64), lengths)
            yield item_id.astype(np.int64), time, request_labels(requests, tasks)


def _recent_events(dataset: PreparedDataset, asked: Asked) -> tuple[str, IntArray]:
    """The window that fits the log, and (Q, tasks) what happened to each item in it before each moment."""
    schema = dataset.info.schema
    count = np.zeros((len(asked.code_Q), len(RECENT), 1 + len(schema.tasks)), dtype=np.int64)
    for bucket in range(dataset.info.num_buckets):
        events = dataset.events(bucket, ["timestamp", "action", "item_id"])
        code, known = asked.codes(scalar_column(events, "item_id").astype(np.int64))
        count += counts_before(
            code[known],
            scalar_column(events, "timestamp").astype(np.int64)[known],
            asked.code_Q,
            asked.time_Q,
            windows_seconds=tuple(RECENT.values()),
            values_NK=_counted(scalar_column(events, "action").astype(np.int64)[known], schema),
        )
    happened_W = (count[:, :, 0] > 0).mean(axis=0) >= 0.5
    window = int(happened_W.argmax()) if happened_W.any() else len(RECENT) - 1
    return list(RECENT)[window], count[:, window, 1:]


def _counted(action_N: IntArray, schema: InputSchema) -> IntArray:
    """(N, 1 + tasks) which events are positive, and which count for each task."""
    positive_N = np.isin(action_N, schema.positive_codes())
    own = [
        action_N == schema.actions.index(task) + 1 if task in schema.actions else positive_N for task in schema.tasks
    ]
    return np.stack([positive_N, *own], axis=1).astype(np.int64)


def _in_order(asked: Asked, values_Q: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """The answers in the order of the candidates."""
    values_N = np.empty(values_Q.shape)
    values_N[asked.order_Q] = values_Q
    return values_N
