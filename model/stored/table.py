"""A table read out of a checkpoint in blocks of rows: whatever its size, and whatever shards it was written in."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.utils import _create_file_view

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.metadata import read_metadata
from pinfm.model.stored.weights import readable


class StoredTable:
    """One matrix of a checkpoint.

    Reading through torch.distributed.checkpoint would hold a whole shard, which for a table is too much. Its shards
    are tensors saved by torch, uncompressed, so their values can be read where they stand.

    Args:
        checkpoint: a folder that torch.distributed.checkpoint wrote.
        name: of the tensor.

    Raises:
        UserError: the checkpoint has no such matrix or a part of it alone, or can't be read.
    """

    def __init__(self, checkpoint: Path, name: str) -> None:
        with readable(checkpoint):
            metadata = read_metadata(checkpoint)
        tensor = metadata.state_dict_metadata.get(name)
        if not isinstance(tensor, TensorStorageMetadata) or len(tensor.size) != 2:
            raise UserError(f"{checkpoint} has no table {name}; export the run with the version that trained it.")
        self.rows, self.columns = tensor.size
        self._dtype: torch.dtype = tensor.properties.dtype
        stored = metadata.storage_data or {}
        self._shards = [
            _Shard(checkpoint / info.relative_path, (info.offset, info.length), index.offset, chunk.sizes, self._dtype)
            for index, info in stored.items()
            if index.fqn == name
            for chunk in tensor.chunks
            if index.offset is not None and tuple(chunk.offsets) == tuple(index.offset)
        ]
        if sum(shard.rows * shard.columns for shard in self._shards) != self.rows * self.columns:
            raise UserError(f"{checkpoint} lacks a part of the table {name}; take another checkpoint, or train again.")

    def blocks(self, rows_per_block: int) -> Iterator[Tensor]:
        """The rows in order, so many at a time, as they were stored.

        Raises:
            UserError: a file of the checkpoint is missing or too short.
        """
        for begin in range(0, self.rows, rows_per_block):
            end = min(begin + rows_per_block, self.rows)
            block = torch.empty(end - begin, self.columns, dtype=self._dtype)
            for shard in self._shards:
                first, last = max(begin, shard.first_row), min(end, shard.first_row + shard.rows)
                if first < last:
                    columns = slice(shard.first_column, shard.first_column + shard.columns)
                    block[first - begin : last - begin, columns] = shard.read(first, last)
            yield block


class _Shard:
    """A rectangle of the table and where its values stand.

    Args:
        file: of the checkpoint.
        place: offset and length of the saved tensor in it.
        offsets: first row and first column.
        sizes: rows and columns.
        dtype: of the values.
    """

    def __init__(
        self, file: Path, place: tuple[int, int], offsets: torch.Size, sizes: torch.Size, dtype: torch.dtype
    ) -> None:
        self._file, self._dtype = file, dtype
        self.first_row, self.first_column = offsets
        self.rows, self.columns = sizes
        # Under this mode torch reads no values and says where they stand.
        with readable(file), file.open("rb") as stream, FakeTensorMode():
            view = _create_file_view(stream, *place)
            saved = torch.load(view, weights_only=True)  # type: ignore[arg-type]  # a view is a stream
        start = saved.untyped_storage()._checkpoint_offset
        self._first_value = place[0] + start + saved.storage_offset() * dtype.itemsize

    def read(self, first: int, last: int) -> Tensor:
        """Rows [first, last) of the table, as far as they are in this shard."""
        row_bytes = self.columns * self._dtype.itemsize
        with self._file.open("rb") as stream:
            stream.seek(self._first_value + (first - self.first_row) * row_bytes)
            values = bytearray(stream.read((last - first) * row_bytes))
        if len(values) < (last - first) * row_bytes:
            raise UserError(f"{self._file} is shorter than its checkpoint says; take another one, or train again.")
        return torch.frombuffer(values, dtype=self._dtype).view(last - first, self.columns)
