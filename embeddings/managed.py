"""Managed collision: raw 64-bit ids in a table of fixed size, each in a row of its own, through TorchRec's modules.

An id that is seen for the first time shares the fallback row, which is the table's last. After `min_count` sightings it
may have a row of its own, when a free one is left or the eviction policy takes one from another id:

    ids seen  ->  waiting (counted)  ->  admitted (a row of its own)  ->  evicted (its row is another's; waits anew)

The map is a function of the ids that it was shown, in their order. Every rank shows it the ids of all ranks, so all
ranks hold the same map, and it does not change with their number.
"""

from typing import Any

import torch
from torch import Tensor

from pinfm.embeddings.rows import NO_ID
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


class ManagedIds:
    """The map of one id space.

    Args:
        num_rows: of the table; the last one is the fallback.
        config: admission and eviction.
    """

    def __init__(self, num_rows: int, config: ManagedIdsConfig) -> None:
        self.config, self.num_rows = config, num_rows
        self._map = MCHManagedCollisionModule(
            zch_size=num_rows,
            device=torch.device("cpu"),
            eviction_policy=eviction_policy(config),
            eviction_interval=1,  # not read: this class says when
        )
        if "last_access_iter" in self._map._mch_metadata:
            self._map._mch_metadata["last_access_iter"].fill_(NEVER)
        self._seen: list[Tensor] = []
        self._waiting = _Counted.of(torch.empty(0, dtype=torch.int64))
        self._steps = self.admitted = self.evicted = 0
        self.hit_rate = 0.0

    def rows(self, ids_N: Tensor) -> Tensor:
        """The row of every id.

        Args:
            ids_N: int64.

        Returns:
            (N,) int64; the fallback row for ids without one.
        """
        jagged = JaggedTensor(values=ids_N, lengths=torch.tensor([len(ids_N)]))
        rows_N: Tensor = self._map.remap({"ids": jagged})["ids"].values()
        return torch.where(ids_N == NO_ID, self.num_rows - 1, rows_N)

    def observe(self, ids_N: Tensor) -> Tensor:
        """Counts the ids of one step of all ranks; every `update_steps` steps the map changes.

        Args:
            ids_N: int64, an id as often as it was seen.

        Returns:
            (R,) int64, the rows that now belong to an id that they did not belong to.
        """
        self._seen.append(ids_N[ids_N != NO_ID])
        self._steps += 1
        fresh_R = torch.empty(0, dtype=torch.int64)
        if self._steps % self.config.update_steps == 0:
            seen = _Counted.of(torch.cat(self._seen))
            self._seen = []
            fresh_R = self._update(seen)
        if len(ids_N):
            self.hit_rate = float((self.rows(ids_N) != self.num_rows - 1).float().mean())
        return fresh_R

    def counters(self) -> dict[str, float]:
        """Share of the rows that have an id, and of the last step's ids that have a row; ids waiting, and ids admitted
        and evicted so far.
        """
        return {
            "occupancy": self.num_ids() / (self.num_rows - 1),
            "hit_rate": self.hit_rate,
            "waiting": len(self._waiting.ids),
            "admitted": self.admitted,
            "evicted": self.evicted,
        }

    def num_ids(self) -> int:
        """Ids that have a row of their own."""
        return self.num_rows - 1 - int(self._map.open_slots())

    def table(self) -> tuple[Tensor, Tensor]:
        """The ids that have a row, ascending, and their rows: int64 (M,) each."""
        ids, rows = self._map._mch_sorted_raw_ids, self._map._mch_remapped_ids_mapping
        return ids[: self.num_ids()].clone(), rows[: self.num_ids()].clone()

    def state_dict(self) -> dict[str, Any]:
        """Everything that it goes on from."""
        return {
            "map": dict(self._map.state_dict()),
            # Of any length, so no tensors: torch.distributed.checkpoint wants to know shapes beforehand.
            "seen": [ids.numpy() for ids in self._seen],
            "waiting": (self._waiting.ids.numpy(), self._waiting.counts.numpy()),
            "counts": (self._steps, self.admitted, self.evicted),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state of `state_dict`."""
        self._map.load_state_dict(state["map"])
        self._seen = [torch.from_numpy(ids) for ids in state["seen"]]
        self._waiting = _Counted(*(torch.from_numpy(part) for part in state["waiting"]))
        self._steps, self.admitted, self.evicted = state["counts"]

    def _update(self, seen: "_Counted") -> Tensor:
        has_row = self.rows(seen.ids) != self.num_rows - 1
        waiting = self._waiting.plus(seen.where(~has_row))
        # Who is not seen now does not compete now, however often it was seen.
        earned = (waiting.counts >= self.config.min_count) & torch.isin(waiting.ids, seen.ids)
        before = self.num_ids()
        fresh_R = self._show(seen.where(has_row).plus(waiting.where(earned)))
        self.admitted += len(fresh_R)
        self.evicted += len(fresh_R) - (self.num_ids() - before)
        still_waiting = self.rows(waiting.ids) == self.num_rows - 1
        # As many wait as there are rows; those that were seen least are forgotten first.
        self._waiting = waiting.where(still_waiting).most(self.num_rows)
        return fresh_R

    def _show(self, counted: "_Counted") -> Tensor:
        """Lets TorchRec's module admit and evict; the rows that changed hands.

        This is the second half of its `profile`. The first half counts ids in a buffer that holds each as often as it
        was seen, and is as long as the first batch made it.
        """
        self._map._current_iter_tensor += 1
        self._map._current_iter = int(self._map._current_iter_tensor)
        now = torch.full_like(counted.counts, self._map._current_iter)
        self._map._update_and_evict(counted.ids, counted.counts, {"last_access_iter": now})
        fresh_R: Tensor = self._map.evict()
        return fresh_R


def map_bytes(num_rows: int, config: ManagedIdsConfig) -> int:
    """Memory of a full map between its changes: ids, rows, what the policy remembers of each, as many ids that wait.

    Args:
        num_rows: of the table.
        config: admission and eviction.
    """
    numbers = 2 + len(eviction_policy(config).metadata_info) + 2
    return 8 * numbers * num_rows


class _Counted:
    """Distinct ids, ascending, and how often each was seen."""

    def __init__(self, ids: Tensor, counts: Tensor) -> None:
        self.ids, self.counts = ids, counts

    @classmethod
    def of(cls, ids_N: Tensor) -> "_Counted":
        ids, counts = torch.unique(ids_N, return_counts=True)
        return cls(ids, counts)

    def plus(self, other: "_Counted") -> "_Counted":
        ids, place = torch.unique(torch.cat([self.ids, other.ids]), return_inverse=True)
        counts = torch.zeros_like(ids).index_add_(0, place, torch.cat([self.counts, other.counts]))
        return _Counted(ids, counts)

    def where(self, mask: Tensor) -> "_Counted":
        return _Counted(self.ids[mask], self.counts[mask])

    def most(self, number: int) -> "_Counted":
        """The most frequent ones, in the order of the ids."""
        kept = torch.argsort(self.counts, descending=True, stable=True)[:number].sort().values
        return _Counted(self.ids[kept], self.counts[kept])


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
