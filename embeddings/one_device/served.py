"""Id tables as an exported module holds them: rows in 32, 16, 8 or 4 bits, in the module's file or mapped from others.

A module is built with empty tables and is given their rows by `place`, so that tables larger than the memory can be
written, mapped and served. All of it is plain torch: a host needs nothing else to load the module.
"""

import functools

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.embeddings.rows import rows_finder
from pinfm.embeddings.specs import IdTable, ServedPrecision


class FloatRows(nn.Module):
    """Rows in fp32 or fp16.

    Args:
        dim: columns.
        dtype: float32 or float16.
    """

    rows_RD: Tensor

    def __init__(self, dim: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("rows_RD", torch.empty(0, dim, dtype=dtype))

    def place(self, rows_RD: Tensor) -> None:
        """Takes rows."""
        self.rows_RD = rows_RD

    def forward(self, rows_N: Tensor) -> Tensor:
        """int64 (N,) -> (N, D) of the rows' type."""
        return self.rows_RD.index_select(0, rows_N)


class Int8Rows(nn.Module):
    """Rows of `quantize_rows` in 8 bits.

    Args:
        dim: columns.
    """

    rows_RB: Tensor
    halves_65536: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("rows_RB", torch.empty(0, dim + 4, dtype=torch.uint8))
        self.register_buffer("halves_65536", every_half())

    def place(self, rows_RB: Tensor) -> None:
        """Takes rows."""
        self.rows_RB = rows_RB

    def forward(self, rows_N: Tensor) -> Tensor:
        """int64 (N,) -> (N, D) float32."""
        packed_NB = self.rows_RB.index_select(0, rows_N)
        bytes_N4 = packed_NB[:, self.dim :].int()
        bits_N2 = bytes_N4[:, ::2] + 256 * bytes_N4[:, 1::2]
        scale_and_bias_N2 = self.halves_65536.index_select(0, bits_N2.flatten()).float().view(-1, 2)
        return torch.addcmul(scale_and_bias_N2[:, 1:], packed_NB[:, : self.dim].float(), scale_and_bias_N2[:, :1])


@functools.cache
def every_half() -> Tensor:
    """(65536,) the fp16 numbers by their bits: TorchScript can't view bytes as fp16, so it looks them up.

    It is one tensor for all tables, and once in the module's file.
    """
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.float16)


class Int4Rows(nn.Module):
    """Rows of `quantize_rows` in 4 bits, read by PyTorch's own kernel for this layout.

    Args:
        dim: columns.
    """

    rows_RB: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows_RB", torch.empty(0, dim // 2 + 4, dtype=torch.uint8))

    def place(self, rows_RB: Tensor) -> None:
        """Takes rows."""
        self.rows_RB = rows_RB

    def forward(self, rows_N: Tensor) -> Tensor:
        """int64 (N,) -> (N, D) float32."""
        # The kernel sums bags; here each row is one.
        bags_N = torch.arange(rows_N.size(0), device=rows_N.device)
        vectors: Tensor = torch.ops.quantized.embedding_bag_4bit_rowwise_offsets(self.rows_RB, rows_N, bags_N)
        return vectors


def rows_of(dim: int, precision: ServedPrecision) -> FloatRows | Int8Rows | Int4Rows:
    """A sub-table without rows.

    Args:
        dim: its columns.
        precision: of its rows.
    """
    if precision == "int4":
        return Int4Rows(dim)
    if precision == "int8":
        return Int8Rows(dim)
    return FloatRows(dim, torch.float16 if precision == "fp16" else torch.float32)


class ServedTable(nn.Module):
    """The vectors of an id space's ids: one row from each sub-table, concatenated.

    Args:
        table: the id space.
        precision: of its rows.
        collection: the collection that the table was trained in, before the name of each sub-table here.

    Example:
        >>> from pinfm.embeddings.quantize import in_precision
        >>> table = IdTable(name="item", num_hashes=2, rows=100, dim=4)
        >>> served = ServedTable(table, "int4", "item_tables")
        >>> for name in served.names:
        ...     served.place(name, in_precision(torch.randn(100, 4), "int4"))
        >>> served(torch.tensor([3, -5])).shape
        torch.Size([2, 8])
    """

    names: list[str]

    def __init__(self, table: IdTable, precision: ServedPrecision, collection: str) -> None:
        super().__init__()
        self.dim = table.num_hashes * table.dim
        self.names = [f"{collection}.{name}" for name in table.sub_tables()]
        self.map_name = f"{collection}.{table.name}.ids"
        self.find = rows_finder(table)
        self.sub_tables = module_list(rows_of(table.dim, precision) for _ in self.names)

    def place(self, name: str, rows: Tensor) -> None:
        """Gives a sub-table its rows, or the table its map of managed ids.

        Args:
            name: of the sub-table, or `map_name`; a name of another table changes nothing.
            rows: (R, columns) from `in_precision`; for `map_name` int64 (2, M), ids that have a row and their rows.
        """
        if name == self.map_name and rows.size(1):  # a file can't hold the second half of nothing
            self.find.place(rows[0], rows[1])
        for k, sub_table in enumerate(self.sub_tables):
            if name == self.names[k]:
                sub_table.place(rows)

    def has_row(self, ids_N: Tensor) -> Tensor:
        """(N,) bool: which ids are told apart from others; of managed ones, those that the map knows."""
        return self.find.has_row(ids_N)

    def forward(self, ids_N: Tensor) -> Tensor:
        """int64 ids (N,) -> (N, num_hashes * dim), float32 but for rows in fp16."""
        rows_KN = self.find(ids_N)
        vectors: list[Tensor] = []
        for k, sub_table in enumerate(self.sub_tables):
            vectors.append(sub_table(rows_KN[k]))
        return torch.cat(vectors, dim=1)
