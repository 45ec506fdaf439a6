"""Next-item retrieval over the full catalogue, for a pretrained tower.

One query a user: the first positive event after the training split is the target, the events before it the history, and
the items of that history are no answers. A tower with `request_time` may be told the target's time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pinfm.model.layers.jagged import starts
from pinfm.model.layers.tokens import gap_buckets, gaps_to_next
from pinfm.model.tower import SequenceTower
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import IntArray, scalar_column
from pinfm.train.loader.batches import history_tensors
from pinfm.train.loader.requests import EVENT_COLUMNS, gather_history
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


def retrieval_metrics(
    tower: SequenceTower,
    dataset: PreparedDataset,
    split: str,
    max_history: int,
    tell_time: bool,
    ks: Sequence[int] = (10, 50, 100),
) -> dict[str, float | None]:
    """HR@k and NDCG@k of the tower's state against psi of every item.

    Args:
        tower: from a pretraining run.
        dataset: events and catalogue.
        split: targets are taken from this split's time.
        max_history: newest events of the history that the tower reads.
        tell_time: see `rank_catalogue`.
        ks: cut-offs.
    """
    catalogue: IntArray = scalar_column(dataset.items(), "item_id").astype(np.int64)
    # disable=None: no bar where stderr is no terminal.
    buckets = tqdm(range(dataset.info.num_buckets), unit="bucket", disable=None)
    queries = (_split_queries(dataset, split, bucket) for bucket in buckets)
    return rank_catalogue(tower, catalogue, queries, max_history, ks, tell_time)


@torch.no_grad()
def rank_catalogue(
    tower: SequenceTower,
    catalogue: IntArray,
    queries: Iterable[Queries],
    max_history: int,
    ks: Sequence[int],
    tell_time: bool = True,
) -> dict[str, float | None]:
    """HR@k and NDCG@k of queries, over every item of the catalogue but those of the history.

    Args:
        tower: from a pretraining run.
        catalogue: item ids, ascending; holds every item of the queries.
        queries: what is to be found.
        max_history: newest events of the history that the tower reads.
        ks: cut-offs.
        tell_time: tell the target's time to a tower with `request_time`, as a server would.
    """
    tower.eval()
    z_VO = tower.encoder.psi(tower.item_embedding(torch.from_numpy(catalogue)))
    metrics = RetrievalMetrics(ks=ks)
    for events, first, target in _batches(queries):
        begin = np.maximum(first, target - max_history)
        states_BO = _last_states(tower, events, begin, target - begin, tell_time)
        seen = [np.searchsorted(catalogue, events["item_id"][a:b]) for a, b in zip(first, target, strict=True)]
        wanted = torch.from_numpy(np.searchsorted(catalogue, events["item_id"][target]))
        metrics.update(states_BO @ z_VO.T, wanted, [torch.from_numpy(rows) for rows in seen])
    return metrics.compute()


def bucket_events(dataset: PreparedDataset, bucket: int) -> dict[str, IntArray]:
    """The columns of a bucket's events."""
    table = dataset.events(bucket)
    return {name: scalar_column(table, name).astype(np.int64) for name in (*EVENT_COLUMNS, "user_id")}


def _split_queries(dataset: PreparedDataset, split: str, bucket: int) -> Queries:
    """Each user's first positive event in a split; users without history or target have none."""
    events = bucket_events(dataset, bucket)
    begin, end = dataset.info.splits[split]
    in_split = (events["timestamp"] >= begin) & (events["timestamp"] < end)
    hits = np.flatnonzero(in_split & np.isin(events["action"], dataset.info.schema.positive_codes()))
    users, first_hit = np.unique(events["user_id"][hits], return_index=True)
    target = hits[first_hit]
    first = np.searchsorted(events["user_id"], users)
    kept = target > first
    return Queries(events, first[kept], target[kept])


def _batches(queries: Iterable[Queries]) -> Iterator[Queries]:
    for events, first, target in queries:
        for start in range(0, len(target), BATCH):
            yield Queries(events, first[start : start + BATCH], target[start : start + BATCH])


def _last_states(
    tower: SequenceTower, events: dict[str, IntArray], start: IntArray, length: IntArray, tell_time: bool
) -> Tensor:
    history = history_tensors(gather_history(events, start, length))
    context = tower.encoder.encode_context(history, tower.item_embedding(history.item_id))
    last_B = starts(history.lengths) + history.lengths - 1
    gap_T = gaps_to_next(history)
    if tell_time:
        target_time_B = torch.from_numpy(events["timestamp"][start + length])
        gap_T[last_B] = gap_buckets(target_time_B - history.timestamp[last_B])
    return tower.encoder.states(context, gap_T)[last_B]
