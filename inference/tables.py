"""The files of a model's id tables, mapped into memory to be served; `write_tables.py` writes them.

A file is a table's rows one after the other, without a head; `table_files` of scoring.pt says their shape and type.
"""

import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError

TABLES = "tables"
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int32": torch.int32,
    "int64": torch.int64,
}


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A file of a sub-table's rows, or of a table's map of managed ids.

    Args:
        name: of the sub-table or map, after its collection's.
        file: below the model folder.
        rows: of the table.
        columns: of the table as stored.
        dtype: of its values, a key of DTYPES.
        crc32: of the file; SHA-256 would take a minute for the paper's tables.
    """

    name: str
    file: str
    rows: int
    columns: int
    dtype: str
    crc32: int

    def num_bytes(self) -> int:
        """The file's size."""
        return self.rows * self.columns * DTYPES[self.dtype].itemsize

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return asdict(self)

    def to_row(self) -> tuple[Any, ...]:
        """As the scoring module holds it: its fields in order."""
        return astuple(self)

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> "TableFile":
        """Back from a row."""
        return cls(**{field.name: value for field, value in zip(fields(cls), row, strict=True)})


class Placeable(Protocol):
    """A scoring module, scripted or not."""

    def place(self, name: str, rows: Tensor) -> None:
        """Gives a sub-table its rows."""


def place_tables(module: Placeable, folder: Path, files: Sequence[TableFile]) -> None:
    """Maps the files of a model folder and gives each to its sub-table.

    A mapped file is read where rows are looked up, and its pages are shared by all processes that map it.

    Args:
        module: takes them.
        folder: the model folder.
        files: what was written, as scoring.pt tells it.

    Raises:
        UserError: a file is missing, is not the one that was written, or lies outside the folder.
    """
    tables = [_mapped(folder, file) for file in files]
    with ThreadPoolExecutor() as threads:
        sums = list(threads.map(lambda table: zlib.crc32(bytes_of(table)), tables))
    for file, table, crc32 in zip(files, tables, sums, strict=True):
        if crc32 != file.crc32:
            raise UserError(
                f"{folder / file.file} was changed after its export (CRC-32 differs); copy the model folder again, "
                "or export the run again."
            )
        module.place(file.name, table)


def _mapped(folder: Path, file: TableFile) -> Tensor:
    path = folder / file.file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"scoring.pt names a table ({file.file}) outside the model folder; load only models that you trust."
        )
    if file.dtype not in DTYPES:
        raise UserError(f"a table has values of type {file.dtype}, which this pinfm does not know; use the newest one.")
    if file.rows < 0 or file.columns < 0:
        raise UserError(f"scoring.pt names a table ({file.file}) of an impossible size; export the run again.")
    if not path.is_file():
        raise UserError(f"{path} is missing; copy the whole model folder, or export the run again.")
    size = path.stat().st_size
    if size != file.num_bytes():
        raise UserError(
            f"{path} has {size} bytes, not {file.num_bytes()}; copy the whole model folder, or export the run again."
        )
    if not size:
        return torch.empty(file.rows, file.columns, dtype=DTYPES[file.dtype])  # no memory to map
    values = np.memmap(path, dtype=file.dtype, mode="r", shape=(file.rows, file.columns))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes to it
        return torch.from_numpy(values)


def bytes_of(table: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return table.numpy().data.cast("B") if table.numel() else memoryview(b"")
