"""The id tables as a TorchRec `EmbeddingCollection`, which the planner can shard.

A batch's ids become one KeyedJaggedTensor with a key per sub-table. `lengths` say how many ids each of the S samples
has; all K sub-tables of an id space repeat them:

    ids of `item`, S = 3:    [a]  [b c]  []        lengths_S = [1, 2, 0]
    keys item_0 .. item_7:   rows_0(a b c), rows_1(a b c), ...
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from pinfm.embeddings.hashing import hash_rows, hash_seeds
from pinfm.embeddings.managed import ManagedIds
from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.sharded.versions import require_tested_versions
from pinfm.embeddings.specs import IdTable

require_tested_versions()

from torchrec.modules.embedding_configs import DataType, EmbeddingConfig  # noqa: E402
from torchrec.modules.embedding_modules import EmbeddingCollection  # noqa: E402
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor  # noqa: E402

DATA_TYPES = {"fp32": DataType.FP32, "fp16": DataType.FP16}


def embedding_collection(tables: Sequence[IdTable], device: torch.device) -> EmbeddingCollection:
    """The tables as one collection.

    Args:
        tables: the id spaces; TorchRec wants one width of sub-table in a collection.
        device: `meta` while planning, so that no rank holds a whole table.
    """
    configs = []
    for table in tables:
        low, high = init_range(table)
        for name in table.sub_tables():
            configs.append(
                EmbeddingConfig(
                    name=name,
                    feature_names=[name],
                    num_embeddings=table.rows,
                    embedding_dim=table.dim,
                    weight_init_min=low,
                    weight_init_max=high,
                    data_type=DATA_TYPES[table.precision],
                )
            )
    return EmbeddingCollection(tables=configs, device=device)


class RowFinder:
    """Turns a batch's raw ids into the rows that a collection looks up.

    Args:
        tables: the id spaces, in the order of the collection's keys.
        managed: the maps of those whose ids are managed, by name.
    """

    def __init__(self, tables: Sequence[IdTable], managed: Mapping[str, ManagedIds] = MappingProxyType({})) -> None:
        self.tables, self._managed = tuple(tables), managed
        self.keys = [key for table in tables for key in table.sub_tables()]
        self._seeds = [hash_seeds(table.num_hashes, table.seed) for table in tables]

    def __call__(self, ids: Mapping[str, tuple[Tensor, Tensor]]) -> KeyedJaggedTensor:
        """Finds the rows of ids.

        Args:
            ids: per id space, ids_N (int64) and lengths_S (int64); S is the same for all.

        Returns:
            Jagged rows with one key per sub-table.

        Raises:
            IndexError: a row outside its table.
        """
        values, lengths = [], []
        for table, seeds_K2 in zip(self.tables, self._seeds, strict=True):
            ids_N, lengths_S = ids[table.name]
            if table.ids == "managed":
                values.append(self._managed[table.name].rows(ids_N).repeat(table.num_hashes))
            else:
                values.append(hash_rows(ids_N, seeds_K2, table.rows).flatten())
            _require_rows(values[-1], table)
            lengths.append(lengths_S.repeat(table.num_hashes))
        return KeyedJaggedTensor(keys=self.keys, values=torch.cat(values), lengths=torch.cat(lengths))


def _require_rows(rows_M: Tensor, table: IdTable) -> None:
    """Stops here, for a sharded lookup does not: it reads and trains some other row, which one depends on the ranks."""
    if not len(rows_M):
        return
    least, most = (int(row) for row in rows_M.aminmax())
    if least < 0 or most >= table.rows:
        wrong = least if least < 0 else most
        raise IndexError(
            f"an id of `{table.name}` stands in row {wrong}, and its sub-tables have rows 0 to {table.rows - 1}."
        )


def concatenate_sub_tables(vectors: Mapping[str, JaggedTensor], table: IdTable) -> Tensor:
    """The vectors of one id space from what the collection returns.

    Returns:
        (N, num_hashes * dim), in the order of the ids.
    """
    return torch.cat([vectors[name].values() for name in table.sub_tables()], dim=1)
