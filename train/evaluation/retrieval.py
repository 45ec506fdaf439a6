"""Next-item retrieval over the full catalogue, for a tower and for what it has to beat.

One query a user: the first positive event of the split is the target, or where the splits are by place each one that
was held out; the events before it are the history, and the items of that history are no answers. A tower with
`request_time` may be told the target's time.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pinfm.model.inputs import History
from pinfm.model.layers.jagged import starts
from pinfm.model.layers.tokens import gap_buckets, gaps_to_next
from pinfm.model.tower import SequenceTower
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import IntArray, scalar_column
from pinfm.train.evaluation.queries import Queries, Scorer, rank_queries, split_queries
from pinfm.train.evaluation.retrieval_baselines import retrieval_baselines
from pinfm.train.loader.batches import history_tensors
from pinfm.train.loader.requests import gather_history

KS = (10, 50, 100)


def retrieval_metrics(
    tower: SequenceTower, dataset: PreparedDataset, split: str, max_history: int, tell_time: bool
) -> dict[str, dict[str, float | None]]:
    """HR@k and NDCG@k of the tower's state against psi of every item, and of the baselines.

    Args:
        tower: from a run of either kind.
        dataset: events and catalogue.
        split: targets are taken from this split's time.
        max_history: newest events of the history that the tower reads.
        tell_time: see `TowerScorer`.

    Returns:
        "model" and the names of `retrieval_baselines` -> metrics.
    """
    catalogue: IntArray = scalar_column(dataset.items(), "item_id").astype(np.int64)
    # disable=None: no bar where stderr is no terminal.
    buckets = tqdm(range(dataset.info.num_buckets), unit="bucket", disable=None)
    rankers: dict[str, Scorer] = {
        "model": TowerScorer(tower, catalogue, max_history, tell_time),
        **retrieval_baselines(dataset, catalogue),
    }
    return rank_queries(rankers, catalogue, (split_queries(dataset, split, bucket) for bucket in buckets), KS)


def rank_catalogue(
    tower: SequenceTower,
    catalogue: IntArray,
    queries: Iterable[Queries],
    max_history: int,
    ks: Sequence[int],
    tell_time: bool = True,
) -> dict[str, float | None]:
    """HR@k and NDCG@k of a tower on queries, over every item of the catalogue but those of the history.

    Args:
        tower: from a run of either kind.
        catalogue: item ids, ascending; holds every item of the queries.
        queries: what is to be found.
        max_history: newest events of the history that the tower reads.
        ks: cut-offs.
        tell_time: see `TowerScorer`.
    """
    scorer = TowerScorer(tower, catalogue, max_history, tell_time)
    return rank_queries({"model": scorer}, catalogue, queries, ks)["model"]


class TowerScorer:
    """A tower's state at the newest event against psi of every item, computed where the tower is.

    Args:
        tower: from a run of either kind.
        catalogue: item ids, ascending.
        max_history: newest events of the history that the tower reads.
        tell_time: tell the target's time to a tower with `request_time`, as a server would.
    """

    @torch.no_grad()
    def __init__(self, tower: SequenceTower, catalogue: IntArray, max_history: int, tell_time: bool) -> None:
        self._tower, self._max_history, self._tell_time = tower.eval(), max_history, tell_time
        self._z_VO = tower.encoder.psi(tower.item_embedding(torch.from_numpy(catalogue)))

    @torch.no_grad()
    def __call__(self, queries: Queries) -> Tensor:
        """(B, V)."""
        events, first, target = queries
        begin = np.maximum(first, target - self._max_history)
        scores_BV: Tensor = self._last_states(events, begin, target - begin) @ self._z_VO.T
        return scores_BV

    def _last_states(self, events: dict[str, IntArray], start: IntArray, length: IntArray) -> Tensor:
        device = self._z_VO.device
        history = History(*(x.to(device) for x in history_tensors(gather_history(events, start, length))))
        context = self._tower.encoder.encode_context(history, self._tower.item_embedding(history.item_id))
        last_B = starts(history.lengths) + history.lengths - 1
        gap_T = gaps_to_next(history)
        if self._tell_time:
            target_time_B = torch.from_numpy(events["timestamp"][start + length]).to(device)
            gap_T[last_B] = gap_buckets(target_time_B - history.timestamp[last_B])
        return self._tower.encoder.states(context, gap_T)[last_B]
