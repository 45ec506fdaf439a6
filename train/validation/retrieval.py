"""A tower in pretraining asked for the next items of a sample of validation queries."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.collections import concatenate_sub_tables
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.tower import SequenceTower
from pinfm.train.build import PretrainModule
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import ragged_index, scalar_column
from pinfm.train.distributed import gather_objects
from pinfm.train.evaluation.queries import BATCH, Queries, split_queries, wanted_and_seen
from pinfm.train.evaluation.retrieval import KS, TowerScorer
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import SAMPLE_SEED
from pinfm.train.metrics import RetrievalMetrics
from pinfm.train.validation.validation import Measure


class ShardedLookup(nn.Module):
    """Raw item ids in, vectors out, from tables that are sharded. Every rank must call it at the same time.

    Args:
        module: in training.
        ids: the maps of the run.
        device: of this rank.
    """

    def __init__(self, module: PretrainModule, ids: Ids, device: torch.device) -> None:
        super().__init__()
        self._tables, self._ids, self._device = module.item_tables, ids, device

    def forward(self, item_id: Tensor) -> Tensor:
        """(N,) int64 -> (N, E)."""
        # One jagged sample, as in training.
        rows = self._ids.item_rows({"item": (item_id.cpu(), torch.tensor([len(item_id)]))})
        return concatenate_sub_tables(self._tables(rows.to(self._device)), self._ids.item)


def retrieval_measure(
    config: RunConfig, dataset: PreparedDataset, ids: Ids, model: DistributedModelParallel, device: torch.device
) -> Measure:
    """Evaluates a tower that is being pretrained, as `pinfm evaluate` would.

    Args:
        config: of the run.
        dataset: whose validation split is read.
        ids: the maps of the run.
        model: the sharded module.
        device: of this rank.

    Raises:
        UserError: there is nothing to ask for in the split.
    """
    queries = sample_queries(dataset, "validation", config.pretrain.validation.queries)
    if not len(queries.target_B):
        raise UserError(
            "nobody with a history has a positive event in the validation split, which pretrain.validation asks for; "
            "prepare the dataset with a longer one, or set pretrain.validation.per_epoch to 0."
        )
    catalogue = scalar_column(dataset.items(), "item_id").astype(np.int64)
    module = model.module
    assert isinstance(module, PretrainModule)
    encoder = module.objective.model["encoder"]
    assert isinstance(encoder, SequenceEncoder)
    tower = SequenceTower(ShardedLookup(module, ids, device), encoder)

    def measure() -> dict[str, float]:
        scorer = TowerScorer(tower, catalogue, config.max_history, tell_time=True)
        own = RetrievalMetrics(ks=KS)
        for part in of_this_rank(queries):
            own.update(scorer(part), *wanted_and_seen(part, catalogue))
        found = RetrievalMetrics(ks=KS)
        for of_rank in gather_objects(own):
            found.add(of_rank)
        return {name: value for name, value in found.compute().items() if value is not None and "@" in name}

    return measure


def sample_queries(dataset: PreparedDataset, split: str, most: int) -> Queries:
    """At most so many of a split's queries, the same ones whatever the run: users of buckets drawn one after the other.

    Args:
        dataset: events, by buckets of users.
        split: which queries.
        most: how many.

    Returns:
        Queries with the events of their own users alone.
    """
    draws = np.random.default_rng(SAMPLE_SEED)
    parts: list[Queries] = []
    left = most
    for bucket in draws.permutation(dataset.info.num_buckets):
        found = split_queries(dataset, split, int(bucket))
        rows = np.sort(draws.permutation(len(found.target_B))[:left])
        parts.append(_cut_out(Queries(found.events, found.first_B[rows], found.target_B[rows])))
        left -= len(rows)
        if not left:
            break
    lengths = np.array([len(part.events["item_id"]) for part in parts])
    before = np.cumsum(lengths) - lengths
    return Queries(
        {name: np.concatenate([part.events[name] for part in parts]) for name in parts[0].events},
        np.concatenate([part.first_B + at for part, at in zip(parts, before, strict=True)]),
        np.concatenate([part.target_B + at for part, at in zip(parts, before, strict=True)]),
    )


def _cut_out(queries: Queries) -> Queries:
    """The same queries with their histories and targets alone in `events`."""
    events, first_B, target_B = queries
    lengths = target_B - first_B + 1
    kept = ragged_index(first_B, lengths)
    ends = np.cumsum(lengths)
    return Queries({name: values[kept] for name, values in events.items()}, ends - lengths, ends - 1)


def of_this_rank(queries: Queries) -> Iterator[Queries]:
    """This rank's share in batches, of which every rank has the same number; the last ones may be empty."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    for start in range(rank * BATCH, len(queries.target_B) + rank * BATCH, ranks * BATCH):
        part = slice(start, start + BATCH)
        yield Queries(queries.events, queries.first_B[part], queries.target_B[part])
