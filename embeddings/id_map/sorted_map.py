"""The map that keeps its ids sorted, on TorchRec's sorted managed-collision module. It runs anywhere."""

from typing import Any

import torch
from torch import Tensor

from pinfm.embeddings.sharded.versions import require_tested_versions
from pinfm.embeddings.specs import ManagedIdsConfig

require_tested_versions()

from torchrec.modules.mc_modules import (  # noqa: E402
    DistanceLFU_EvictionPolicy,
    LFU_EvictionPolicy,
    LRU_EvictionPolicy,
    MCHEvictionPolicy,
    MCHManagedCollisionModule,
)
from torchrec.sparse.jagged_tensor import JaggedTensor  # noqa: E402

# When a row that nobody has had was last seen.
NEVER = -(1 << 40)
# What TorchRec calls them, and what every map's state does.
STATE_NAMES = {"_mch_sorted_raw_ids": "ids", "_mch_remapped_ids_mapping": "rows"}


class SortedMap:
    """Ids in order, each with its row; a change sorts them anew.

    Args:
        num_rows: of the table; the last one is the fallback.
        config: eviction.
    """

    def __init__(self, num_rows: int, config: ManagedIdsConfig) -> None:
        self._map = MCHManagedCollisionModule(
            zch_size=num_rows,
            device=torch.device("cpu"),
            eviction_policy=eviction_policy(config),
            eviction_interval=1,  # not read: ManagedIds says when
        )
        if "last_access_iter" in self._map._mch_metadata:
            self._map._mch_metadata["last_access_iter"].fill_(NEVER)

    def rows(self, ids_N: Tensor) -> Tensor:
        """The row of every id; see `IdMap`."""
        jagged = JaggedTensor(values=ids_N, lengths=torch.tensor([len(ids_N)]))
        rows_N: Tensor = self._map.remap({"ids": jagged})["ids"].values()
        return rows_N

    def show(self, ids_M: Tensor, counts_M: Tensor) -> Tensor:
        """Lets TorchRec's module admit and evict; see `IdMap`.

        This is the second half of its `profile`. The first half counts ids in a buffer that holds each as often as it
        was seen, and is as long as the first batch made it.
        """
        self._map._current_iter_tensor += 1
        self._map._current_iter = int(self._map._current_iter_tensor)
        now = torch.full_like(counts_M, self._map._current_iter)
        self._map._update_and_evict(ids_M, counts_M, {"last_access_iter": now})
        fresh_R: Tensor = self._map.evict()
        return fresh_R

    def num_ids(self) -> int:
        """Ids that have a row of their own."""
        return int(self._map._zch_size) - 1 - int(self._map.open_slots())

    def table(self) -> tuple[Tensor, Tensor]:
        """The ids that have a row, ascending, and their rows; see `IdMap`."""
        ids, rows = self._map._mch_sorted_raw_ids, self._map._mch_remapped_ids_mapping
        return ids[: self.num_ids()].clone(), rows[: self.num_ids()].clone()

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that it goes on from."""
        return {STATE_NAMES.get(name, name): value for name, value in self._map.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state of `state_dict`."""
        names: dict[str, Any] = {ours: theirs for theirs, ours in STATE_NAMES.items()}
        self._map.load_state_dict({names.get(name, name): value for name, value in state.items()})


class TimeToLive(LRU_EvictionPolicy):  # type: ignore[misc]  # torchrec carries no types
    """Takes rows from ids that were not seen for so many updates, longest first, and from no others.

    Args:
        updates: how many.
    """

    def __init__(self, updates: int) -> None:
        super().__init__(decay_exponent=1.0)
        self._updates = updates

    def _compute_selected_eviction_and_replacement_indices(
        self, pivot: int, eviction_scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scores are -(updates since last seen + 1), of the rows' ids and then of the new ids."""
        held, new = eviction_scores[:pivot], eviction_scores[pivot:]
        alive = held > -(self._updates + 1)
        scores = torch.cat([torch.where(alive, torch.ones_like(held), held), new])
        chosen: tuple[Tensor, Tensor] = super()._compute_selected_eviction_and_replacement_indices(pivot, scores)
        return chosen


def eviction_policy(config: ManagedIdsConfig) -> MCHEvictionPolicy:
    """TorchRec's policy, or ours for the time to live."""
    if config.eviction == "time_to_live":
        return TimeToLive(config.time_to_live_updates)
    policies = {"lfu": LFU_EvictionPolicy, "lru": LRU_EvictionPolicy, "distance_lfu": DistanceLFU_EvictionPolicy}
    return policies[config.eviction]()
