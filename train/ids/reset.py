"""Rows that change hands start afresh."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed._shard.sharded_tensor.shard import Shard
from torchrec.distributed.model_parallel import DistributedModelParallel

from pinfm.embeddings.init import uniform_rows
from pinfm.embeddings.lookup import init_range
from pinfm.embeddings.specs import IdTable
from pinfm.train.ids.maps import FreshRows, Ids
from pinfm.train.ids.starts import ItemStarts, Starts, within


class RowReset:
    """Gives rows new values and new Adagrad sums: what a row learned for one id says nothing of another.

    fbgemm's own reset has no CPU kernel. The tables' shards and the optimizer's sums are reached through their state
    dicts, whose tensors are the ones that train.

    Args:
        model: the sharded module.
        ids: whose rows.
        seed: of the run; a row starts from the value that it has in a new table, with a sum of zero,
        item_starts: or, for items, from what this tells of them.
    """

    def __init__(
        self, model: DistributedModelParallel, ids: Ids, seed: int, item_starts: ItemStarts | None = None
    ) -> None:
        self._ids, self._seed, self._item_starts = ids, seed, item_starts
        self._weights, self._sums = model.state_dict(), model.fused_optimizer.state_dict()["state"]

    @torch.no_grad()
    def __call__(self, fresh: FreshRows) -> None:
        """Resets this rank's part of the rows. Every rank must call it with the same rows."""
        for name, (collection, table) in self._ids.managed_tables.items():
            rows_R: Tensor = getattr(fresh, name).cpu()
            if not len(rows_R):
                continue
            starts = self._starts(rows_R) if name == "item" else None
            for sub_table in table.sub_tables():
                self._reset(f"{collection}.embeddings.{sub_table}.weight", table, rows_R, starts)

    def _starts(self, rows_R: Tensor) -> Starts | None:
        if self._item_starts is None:
            return None
        ids_M, rows_M = self._ids.managed["item"].table()
        by_row = rows_M.argsort()
        new_R = ids_M[by_row[torch.searchsorted(rows_M[by_row], rows_R)]]
        known_M = torch.isin(rows_M, rows_R, invert=True)
        return self._item_starts.starts(new_R, ids_M[known_M], rows_M[known_M])

    def _reset(self, name: str, table: IdTable, rows_R: Tensor, starts: Starts | None) -> None:
        shards = self._weights[name].local_shards()
        values_RD = uniform_rows(name, self._seed, rows_R, (0, table.dim), init_range(table))
        if starts is not None:
            values_RD = torch.where(starts.told_R()[:, None], starts.of_table(shards, table.dim), values_RD)
        for shard in shards:
            (first, left), columns = shard.metadata.shard_offsets, shard.metadata.shard_sizes[1]
            here_R = within(rows_R, shard.metadata)
            values = values_RD[here_R, left : left + columns]
            shard.tensor[rows_R[here_R] - first] = values.to(shard.tensor)
        for sums in self._sums[name].values():
            self._reset_sums(sums.local_shards(), rows_R, starts)

    def _reset_sums(self, shards: Sequence[Shard], rows_R: Tensor, starts: Starts | None) -> None:
        sums_R = torch.zeros(len(rows_R)) if starts is None else starts.sums(shards)
        for shard in shards:
            here_R = within(rows_R, shard.metadata)
            # One sum a row, or one a value.
            values = sums_R[here_R].view(-1, *[1] * (shard.tensor.dim() - 1))
            shard.tensor[rows_R[here_R] - shard.metadata.shard_offsets[0]] = values.to(shard.tensor)
