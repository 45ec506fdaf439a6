"""Where an id's vector stands: its row in each sub-table, by hashes or by a map. Written for TorchScript."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.hashing import hash_rows, hash_seeds
from pinfm.embeddings.specs import IdTable

# TorchRec marks a free row by this id, so it is the one id that never has a row.
NO_ID = torch.iinfo(torch.int64).max


class HashedRows(nn.Module):
    """Each sub-table hashes the id to a row.

    Args:
        table: the id space.
    """

    seeds_K2: Tensor

    def __init__(self, table: IdTable) -> None:
        super().__init__()
        self.num_rows = table.rows
        self.register_buffer("seeds_K2", hash_seeds(table.num_hashes, table.seed), persistent=False)

    def forward(self, ids_N: Tensor) -> Tensor:
        """int64 ids (N,) -> (K, N) int64 rows."""
        return hash_rows(ids_N, self.seeds_K2, self.num_rows)

    def place(self, ids_M: Tensor, rows_M: Tensor) -> None:
        """Hashes need no map."""

    def has_row(self, ids_N: Tensor) -> Tensor:
        """(N,) bool: all of them, for every id has its hashes."""
        return torch.ones_like(ids_N, dtype=torch.bool)


class ManagedRows(nn.Module):
    """The id has one row, the same in each sub-table; an id that has none shares the last.

    Args:
        table: the id space.
    """

    ids_M: Tensor
    rows_M: Tensor

    def __init__(self, table: IdTable) -> None:
        super().__init__()
        self.num_hashes, self.fallback = table.num_hashes, table.rows - 1
        self.register_buffer("ids_M", torch.empty(0, dtype=torch.int64))
        self.register_buffer("rows_M", torch.empty(0, dtype=torch.int64))

    def place(self, ids_M: Tensor, rows_M: Tensor) -> None:
        """Takes a map.

        Args:
            ids_M: int64 ids that have a row, ascending.
            rows_M: int64 rows of these ids.
        """
        self.ids_M, self.rows_M = ids_M, rows_M

    def has_row(self, ids_N: Tensor) -> Tensor:
        """(N,) bool: which ids have a row of their own."""
        if self.ids_M.size(0) == 0:
            return torch.zeros_like(ids_N, dtype=torch.bool)
        return self.ids_M.index_select(0, self._places(ids_N)) == ids_N

    def forward(self, ids_N: Tensor) -> Tensor:
        """int64 ids (N,) -> (K, N) int64 rows."""
        if self.ids_M.size(0) == 0:
            rows_N = torch.full_like(ids_N, self.fallback)
        else:
            place_N = self._places(ids_N)
            known_N = self.ids_M.index_select(0, place_N) == ids_N
            rows_N = torch.where(known_N, self.rows_M.index_select(0, place_N), self.fallback)
        return rows_N[None, :].expand(self.num_hashes, rows_N.size(0))

    def _places(self, ids_N: Tensor) -> Tensor:
        """Where an id stands in the map, if it does."""
        return torch.searchsorted(self.ids_M, ids_N).clamp(max=self.ids_M.size(0) - 1)


def rows_finder(table: IdTable) -> HashedRows | ManagedRows:
    """The way that the table's ids go.

    Args:
        table: the id space.
    """
    return ManagedRows(table) if table.ids == "managed" else HashedRows(table)
