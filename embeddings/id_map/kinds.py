"""What a map does, and the kinds of it."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from pinfm.embeddings.id_map.probed_map import ProbedMap
from pinfm.embeddings.id_map.sorted_map import SortedMap, eviction_policy
from pinfm.embeddings.specs import ManagedIdsConfig


class IdMap(Protocol):
    """The rows of ids, no two of them the same; the last row is the fallback, for ids that have none."""

    def rows(self, ids_N: Tensor) -> Tensor:
        """int64 ids (N,), not NO_ID -> (N,) int64 rows."""

    def show(self, ids_M: Tensor, counts_M: Tensor) -> Tensor:
        """Changes the map: of these ids, those without a row get one if one is free or its owner may be evicted.

        Args:
            ids_M: int64, distinct, ascending: seen since the last change.
            counts_M: int64, how often each.

        Returns:
            (R,) int64, the rows that now belong to an id that they did not belong to.
        """

    def num_ids(self) -> int:
        """Ids that have a row of their own."""

    def table(self) -> tuple[Tensor, Tensor]:
        """The ids that have a row, ascending, and their rows: int64 (M,) each."""

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors whose shapes do not change, among them all `rows` and their `ids`: ascending, NO_ID of a free row."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state of `state_dict`."""


def empty_map(num_rows: int, config: ManagedIdsConfig, from_first_rank: Callable[[Tensor], Tensor]) -> IdMap:
    """An empty map.

    Args:
        num_rows: of the table.
        config: the kind, and who is evicted.
        from_first_rank: what the first rank has, for every rank, where their maps could differ.
    """
    if config.map == "mpzch":
        return ProbedMap(num_rows, config, from_first_rank)
    return SortedMap(num_rows, config)


def bytes_per_row(config: ManagedIdsConfig) -> int:
    """Host memory of a full map, between its changes."""
    if config.map == "mpzch":
        return 8 + 4  # id, when it was seen
    return 8 * (2 + len(eviction_policy(config).metadata_info))
