"""Rows that change hands start afresh."""

import torch
from torch import Tensor
from torchrec.distributed.model_parallel import DistributedModelParallel

from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.sharded.init import uniform_rows
from pinfm.embeddings.specs import IdTable
from pinfm.train.ids.maps import FreshRows, Ids
from pinfm.train.ids.starts import ItemStarts, NewRows, held


class RowReset:
    """Gives rows new values and new Adagrad sums: what a row learned for one id says nothing of another.

    A row starts as in a new table, with a sum of zero, or where `item_starts` says. fbgemm's own reset has no CPU
    kernel. The tables' shards and the optimizer's sums are reached through their state dicts, whose tensors are the
    ones that train; a rank that holds no part of a table has no sums of it.

    Args:
        model: the sharded module.
        ids: whose rows.
        seed: of the run.
        item_starts: what rows of items start from; None for new tables.
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
            rows_R: Tensor = getattr(fresh, name).cpu().sort().values
            if not len(rows_R):
                continue
            starts = self._like_known_items(rows_R) if name == "item" else None
            for sub_table in table.sub_tables():
                self._reset(f"{collection}.embeddings.{sub_table}.weight", table, rows_R, starts)

    def _like_known_items(self, rows_R: Tensor) -> NewRows | None:
        if self._item_starts is None:
            return None
        ids_M, rows_M = self._ids.managed["item"].table()
        is_new = torch.zeros(self._ids.managed["item"].num_rows, dtype=torch.bool)
        is_new[rows_R] = True
        new_M = is_new[rows_M]
        new_R = ids_M[new_M][rows_M[new_M].argsort()]
        assert len(new_R) == len(rows_R)
        return self._item_starts.of(new_R, ids_M[~new_M], rows_M[~new_M])

    def _reset(self, name: str, table: IdTable, rows_R: Tensor, starts: NewRows | None) -> None:
        shards = self._weights[name].local_shards()
        sums = [shard for state in self._sums.get(name, {}).values() for shard in state.local_shards()]
        if starts is not None:
            told_R, values_RD, sums_R = starts.told_R(), starts.values(shards, table.dim), starts.adagrad_sums(sums)
        for shard in shards:
            left, columns = shard.metadata.shard_offsets[1], shard.metadata.shard_sizes[1]
            held_R, places = held(rows_R, shard)
            values = uniform_rows(name, self._seed, rows_R[held_R], (left, columns), init_range(table))
            if starts is not None:
                values = torch.where(told_R[held_R, None], values_RD[held_R, left : left + columns], values)
            shard.tensor[places] = values.to(shard.tensor)
        for shard in sums:
            held_R, places = held(rows_R, shard)
            # One sum a row, or one a value.
            shape = (-1, *[1] * (shard.tensor.dim() - 1))
            new = torch.zeros(len(places)) if starts is None else sums_R[held_R]
            shard.tensor[places] = new.view(shape).to(shard.tensor)
