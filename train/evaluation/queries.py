"""Next items to be found, and how well rankers of the catalogue find them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS
from pinfm.train.data.ragged import IntArray, scalar_column
from pinfm.train.loader.requests import EVENT_COLUMNS
from pinfm.train.metrics import RetrievalMetrics

BATCH = 256


class Queries(NamedTuple):
    """Next items to be found, of B users of one bucket.

    Args:
        events: the bucket's columns.
        first_B: each user's first event.
        target_B: the event to be found; its history are the events before it.
    """

    events: dict[str, IntArray]
    first_B: IntArray
    target_B: IntArray


# (B, V) a score for every item of the catalogue.
Scorer = Callable[[Queries], Tensor]


def rank_queries(
    scorers: Mapping[str, Scorer], catalogue: IntArray, queries: Iterable[Queries], ks: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """HR@k and NDCG@k of some rankers, over every item of the catalogue but those of the history.

    Args:
        scorers: name -> ranker.
        catalogue: item ids, ascending; holds every item of the queries.
        queries: what is to be found.
        ks: cut-offs.

    Returns:
        Name -> metrics.
    """
    metrics = {name: RetrievalMetrics(ks=ks) for name in scorers}
    for batch in _batches(queries):
        wanted, excluded = wanted_and_seen(batch, catalogue)
        for name, scorer in scorers.items():
            metrics[name].update(scorer(batch), wanted, excluded)
    return {name: found.compute() for name, found in metrics.items()}


def wanted_and_seen(queries: Queries, catalogue: IntArray) -> tuple[Tensor, list[Tensor]]:
    """The catalogue's row of each target, and the rows of its history, which are no answers."""
    events, first_B, target_B = queries
    seen = [np.searchsorted(catalogue, events["item_id"][a:b]) for a, b in zip(first_B, target_B, strict=True)]
    wanted = torch.from_numpy(np.searchsorted(catalogue, events["item_id"][target_B]))
    return wanted, [torch.from_numpy(rows) for rows in seen]


def bucket_events(dataset: PreparedDataset, bucket: int) -> dict[str, IntArray]:
    """The columns of a bucket's events."""
    table = dataset.events(bucket)
    names = dict.fromkeys((*EVENT_COLUMNS, "user_id", dataset.split_column))
    return {name: scalar_column(table, name).astype(np.int64) for name in names}


def split_queries(dataset: PreparedDataset, split: str, bucket: int) -> Queries:
    """The positive events to be found in a split; users without history or target have none.

    By time it is each user's first, for later ones lie ever further from training; by place the newest `split_last`,
    which are all that were held out but for the feedback of held-out requests.
    """
    events = bucket_events(dataset, bucket)
    positive = np.isin(events["action"], dataset.info.schema.positive_codes())
    if dataset.info.split_last is None:
        begin, end = dataset.info.splits[split]
        hits = np.flatnonzero((events["timestamp"] >= begin) & (events["timestamp"] < end) & positive)
        target = hits[np.unique(events["user_id"][hits], return_index=True)[1]]
    else:
        hits = np.flatnonzero((events["split"] == SPLITS.index(split)) & positive)
        user = events["user_id"][hits]
        from_end = np.searchsorted(user, user, side="right") - np.arange(len(hits))
        target = hits[from_end <= dataset.info.split_last]
    first = np.searchsorted(events["user_id"], events["user_id"][target])
    kept = target > first
    return Queries(events, first[kept], target[kept])


def _batches(queries: Iterable[Queries]) -> Iterator[Queries]:
    for events, first, target in queries:
        for start in range(0, len(target), BATCH):
            yield Queries(events, first[start : start + BATCH], target[start : start + BATCH])
