"""New rows of sharded tables, the same however the table is sharded.

A value depends on its table, row, column and the seed alone: a counter goes through the hash's mixer. So two ranks
start from the very model that one rank starts from.
"""

import zlib

import torch
from torch import Tensor

from pinfm.embeddings.hashing import mix64

# Values made at a time: what a core's cache holds, which is several times faster than what it doesn't.
CHUNK_VALUES = 1 << 16


def uniform_rows(
    table_name: str, seed: int, rows_R: Tensor, columns: tuple[int, int], bounds: tuple[float, float]
) -> Tensor:
    """New values of some rows.

    Args:
        table_name: of the sub-table.
        seed: of the run.
        rows_R: int64 rows of the whole table.
        columns: first column and number of columns.
        bounds: lowest and highest value.

    Returns:
        (R, columns) float32, uniform in `bounds`.
    """
    low, high = bounds
    key = mix64(torch.tensor(zlib.crc32(table_name.encode()) * 1_000_003 + seed))
    columns_C = torch.arange(columns[0], columns[0] + columns[1])
    bits_RC = mix64(mix64(rows_R[:, None] ^ key) + columns_C)
    return low + (high - low) * ((bits_RC >> 40) & 0xFFFFFF).float() / float(1 << 24)


def fill_uniform(
    block: Tensor, table_name: str, seed: int, offsets: tuple[int, int], bounds: tuple[float, float]
) -> None:
    """Fills a shard in place.

    Args:
        block: (rows, columns) of the shard, on any device and of any float type.
        table_name: of the sub-table.
        seed: of the run.
        offsets: the shard's first row and first column within the table.
        bounds: lowest and highest value.
    """
    chunk_rows = max(1, CHUNK_VALUES // max(1, block.size(1)))
    for start in range(0, block.size(0), chunk_rows):
        part = block[start : start + chunk_rows]
        rows_R = torch.arange(offsets[0] + start, offsets[0] + start + part.size(0))
        part.copy_(uniform_rows(table_name, seed, rows_R, (offsets[1], part.size(1)), bounds))
