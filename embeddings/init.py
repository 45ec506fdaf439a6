"""New rows of sharded tables, the same however the table is sharded.

A value depends on its table, row, column and the seed alone: a counter goes through the hash's mixer. So two ranks
start from the very model that one rank starts from.
"""

import zlib

import torch
from torch import Tensor

from pinfm.embeddings.hashing import mix64

# Rows filled at a time, which bounds the memory beside the table itself.
CHUNK_ROWS = 1 << 18


def uniform_rows(
    table_name: str, seed: int, row_offset: int, column_offset: int, shape: tuple[int, int], bounds: tuple[float, float]
) -> Tensor:
    """A block of a new table.

    Args:
        table_name: of the sub-table.
        seed: of the run.
        row_offset: first row of the block.
        column_offset: first column of the block.
        shape: rows and columns of the block.
        bounds: lowest and highest value.

    Returns:
        `shape` float32, uniform in `bounds`.
    """
    low, high = bounds
    key = mix64(torch.tensor(zlib.crc32(table_name.encode()) * 1_000_003 + seed))
    rows_R1 = torch.arange(row_offset, row_offset + shape[0])[:, None]
    columns_C = torch.arange(column_offset, column_offset + shape[1])
    bits_RC = mix64(mix64(rows_R1 ^ key) + columns_C)
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
    for start in range(0, block.size(0), CHUNK_ROWS):
        part = block[start : start + CHUNK_ROWS]
        values = uniform_rows(table_name, seed, offsets[0] + start, offsets[1], (part.size(0), part.size(1)), bounds)
        part.copy_(values)
