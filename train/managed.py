"""Managed ids in training: every rank's ids are shown to the maps, and rows that change hands start afresh."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._shard.metadata import ShardMetadata
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import CombinedOptimizer

from pinfm.embeddings.collections import RowFinder
from pinfm.embeddings.init import uniform_rows
from pinfm.embeddings.lookup import init_range
from pinfm.embeddings.managed import ManagedIds
from pinfm.embeddings.specs import IdTable, ManagedIdsConfig
from pinfm.model.run_folder import FEATURE_TABLES, ITEM_TABLES
from pinfm.train.loader.ragged import IntArray


class FreshRows(NamedTuple):
    """Rows that belong to another id than before, by id space; empty where the ids are hashed.

    Args:
        item: of the item table.
        user_id: of the table of user ids.
    """

    item: Tensor
    user_id: Tensor


NONE_FRESH = FreshRows(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))


class Ids:
    """How a run finds the rows of ids, with the maps of those that are managed.

    Args:
        item: the item table.
        features: of the user id and of categorical features.
        config: of the maps.
    """

    def __init__(self, item: IdTable, features: Sequence[IdTable], config: ManagedIdsConfig) -> None:
        spaces = [(ITEM_TABLES, item), *((FEATURE_TABLES, table) for table in features)]
        self.managed_tables = {table.name: (name, table) for name, table in spaces if table.ids == "managed"}
        self.managed = {name: ManagedIds(table.rows, config) for name, (_, table) in self.managed_tables.items()}
        self.item_rows = RowFinder([item], self.managed)
        self.feature_rows = RowFinder(features, self.managed)

    def observe(self, ids: Mapping[str, IntArray]) -> FreshRows:
        """Shows the ids of a step, those of all ranks, to the maps. Every rank must call it for every step.

        Args:
            ids: by id space, as often as the rank's batch has them.
        """
        fresh = {
            name: managed.observe(gather_ids(torch.from_numpy(ids[name])))
            for name, managed in self.managed.items()
            if name in ids
        }
        return NONE_FRESH._replace(**fresh)

    def counters(self) -> dict[str, float]:
        """For the log: what the maps tell of themselves, as `ids/{name}/{counter}`."""
        return {
            f"ids/{name}/{counter}": value
            for name, managed in self.managed.items()
            for counter, value in managed.counters().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The state of every map."""
        return {name: managed.state_dict() for name, managed in self.managed.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state of `state_dict`; a map that it does not hold stays as it is."""
        for name, part in state.items():
            self.managed[name].load_state_dict(part)


def gather_ids(ids_N: Tensor) -> Tensor:
    """The ids of all ranks, ascending, so that nothing tells which rank had which."""
    if dist.get_world_size() == 1:
        return ids_N.sort().values
    parts: list[IntArray] = [np.empty(0, dtype=np.int64)] * dist.get_world_size()
    dist.all_gather_object(parts, ids_N.numpy())
    return torch.from_numpy(np.sort(np.concatenate(parts)))


class RowReset:
    """Gives rows new values and an optimizer without memory: what a row learned for one id says nothing of another.

    fbgemm's own reset has no CPU kernel. The tables' shards and the optimizer's sums are reached through their state
    dicts, whose tensors are the ones that train.

    Args:
        model: the sharded module.
        ids: whose rows.
        seed: of the run; a row starts from the value that it has in a new table.
    """

    def __init__(self, model: DistributedModelParallel, ids: Ids, seed: int) -> None:
        self._tables, self._seed = ids.managed_tables, seed
        self._weights, self._sums = model.state_dict(), model.fused_optimizer.state_dict()["state"]

    @torch.no_grad()
    def __call__(self, fresh: FreshRows) -> None:
        """Resets this rank's part of the rows."""
        for name, (collection, table) in self._tables.items():
            rows_R: Tensor = getattr(fresh, name).cpu()
            for sub_table in table.sub_tables() if len(rows_R) else ():
                self._reset(f"{collection}.embeddings.{sub_table}.weight", table, rows_R)

    def _reset(self, name: str, table: IdTable, rows_R: Tensor) -> None:
        for shard in self._weights[name].local_shards():
            first, left = shard.metadata.shard_offsets
            here_R = _within(rows_R, shard.metadata)
            values = uniform_rows(name, self._seed, here_R, (left, shard.metadata.shard_sizes[1]), init_range(table))
            shard.tensor[here_R - first] = values.to(shard.tensor)
        for sums in self._sums[name].values():
            for shard in sums.local_shards():
                shard.tensor[_within(rows_R, shard.metadata) - shard.metadata.shard_offsets[0]] = 0.0


class StepByStep:
    """Trains a batch after the other, where TorchRec's pipeline reads ahead.

    A batch that was read ahead would have found rows that other ids are given before it trains.

    Args:
        model: the sharded module.
        optimizer: of its dense weights and tables.
        ids: with the maps that its batches were shown to.
        device: of this rank.
        seed: of the run.
    """

    def __init__(
        self, model: DistributedModelParallel, optimizer: CombinedOptimizer, ids: Ids, device: torch.device, seed: int
    ) -> None:
        self._model, self._optimizer, self._device = model, optimizer, device
        self._reset = RowReset(model, ids, seed)

    def progress(self, batches: Iterator[Any]) -> Any:
        """Trains on the next batch; what the module tells of it."""
        batch = next(batches).to(self._device)
        self._reset(batch.fresh)
        self._optimizer.zero_grad()
        loss, parts = self._model(batch)
        loss.backward()
        self._optimizer.step()
        return parts

    def detach(self) -> None:
        """Nothing was attached to the model."""


def _within(rows_R: Tensor, shard: ShardMetadata) -> Tensor:
    first, size = shard.shard_offsets[0], shard.shard_sizes[0]
    return rows_R[(rows_R >= first) & (rows_R < first + size)]
