"""Managed collision: raw 64-bit ids in a table of fixed size, each in a row of its own.

An id that is seen for the first time shares the fallback row, which is the table's last. After `min_count` sightings it
may have a row of its own, when a free one is left or the eviction policy takes one from another id:

    ids seen  ->  waiting (counted)  ->  admitted (a row of its own)  ->  evicted (its row is another's; waits anew)

All ranks hold the same map, as every rank shows its own the ids of all. A sorted map is a function of these ids, in
their order, whatever the number of ranks; one that a GPU changes is the first rank's.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pinfm.embeddings.id_map.kinds import bytes_per_row, empty_map
from pinfm.embeddings.rows import NO_ID
from pinfm.embeddings.specs import ManagedIdsConfig


class ManagedIds:
    """The map of one id space.

    Args:
        num_rows: of the table; the last one is the fallback.
        config: admission and eviction.
        from_first_rank: what the first rank has, for every rank; needed where there are several.
    """

    def __init__(
        self, num_rows: int, config: ManagedIdsConfig, from_first_rank: Callable[[Tensor], Tensor] = lambda own: own
    ) -> None:
        self.config, self.num_rows = config, num_rows
        self._map = empty_map(num_rows, config, from_first_rank)
        self._seen: list[Tensor] = []
        self._waiting = _Counted.of(torch.empty(0, dtype=torch.int64))
        self._steps = self.admitted = self.evicted = 0
        self._hit_rate: float | None = None

    def rows(self, ids_N: Tensor) -> Tensor:
        """The row of every id.

        Args:
            ids_N: int64.

        Returns:
            (N,) int64; the fallback row for ids without one.
        """
        return torch.where(ids_N == NO_ID, self.num_rows - 1, self._map.rows(ids_N))

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
            self._hit_rate = float((self.rows(ids_N) != self.num_rows - 1).float().mean())
        return fresh_R

    def admit(self, ids_N: Tensor, counts_N: Tensor) -> None:
        """Gives rows to ids before anything is seen; where they are too few, to the most frequent.

        Args:
            ids_N: int64, ascending, each once.
            counts_N: int64, how often each was seen before, which evictions will weigh.
        """
        shown = _Counted(ids_N, counts_N.clamp(min=1)).most(self.num_rows - 1)
        self.admitted += len(self._map.show(shown.ids, shown.counts))

    def counters(self) -> dict[str, float]:
        """Share of the rows that have an id, and of the last step's ids that have a row, once there was a step; ids
        waiting, and ids admitted and evicted so far.
        """
        counted = {
            "occupancy": self.num_ids() / (self.num_rows - 1),
            "waiting": len(self._waiting.ids),
            "admitted": self.admitted,
            "evicted": self.evicted,
        }
        return counted if self._hit_rate is None else {**counted, "hit_rate": self._hit_rate}

    def num_ids(self) -> int:
        """Ids that have a row of their own."""
        return self._map.num_ids()

    def table(self) -> tuple[Tensor, Tensor]:
        """The ids that have a row, ascending, and their rows: int64 (M,) each."""
        return self._map.table()

    def state_dict(self) -> dict[str, Any]:
        """Everything that it goes on from."""
        return {
            "map": self._map.state_dict(),
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
        shown = seen.where(has_row).plus(waiting.where(earned))
        fresh_R = self._map.show(shown.ids, shown.counts)
        self.admitted += len(fresh_R)
        self.evicted += len(fresh_R) - (self.num_ids() - before)
        still_waiting = self.rows(waiting.ids) == self.num_rows - 1
        # As many wait as there are rows; those that were seen least are forgotten first.
        self._waiting = waiting.where(still_waiting).most(self.num_rows)
        return fresh_R


def map_bytes(num_rows: int, config: ManagedIdsConfig) -> int:
    """Memory of a full map between its changes: ids, rows, what the policy remembers of each, as many ids that wait.

    Args:
        num_rows: of the table.
        config: admission and eviction.
    """
    waiting = 8 + 8  # id, sightings
    return (bytes_per_row(config) + waiting) * num_rows


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
