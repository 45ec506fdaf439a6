"""The maps of a run's managed ids: every rank shows them the ids of all ranks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from pinfm.embeddings.managed import ManagedIds
from pinfm.embeddings.sharded.collections import RowFinder
from pinfm.embeddings.specs import IdTable, ManagedIdsConfig
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES
from pinfm.train.data.ragged import IntArray
from pinfm.train.distributed import from_first_rank


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
        self.item, self.features = item, tuple(features)
        spaces = [(ITEM_TABLES, item), *((FEATURE_TABLES, table) for table in features)]
        self.managed_tables = {table.name: (name, table) for name, table in spaces if table.ids == "managed"}
        self.managed = {
            name: ManagedIds(table.rows, config, from_first_rank) for name, (_, table) in self.managed_tables.items()
        }
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

    def admit_items(self, item_id_M: IntArray, event_count_M: IntArray) -> None:
        """Gives items rows before the first step; every rank must call it with the same items.

        Args:
            item_id_M: each once.
            event_count_M: int64, positive events of each in training.
        """
        self.managed["item"].admit(torch.from_numpy(item_id_M), torch.from_numpy(event_count_M))

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
