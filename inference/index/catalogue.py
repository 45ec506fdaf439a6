"""The items that can be found: a Parquet table of them -> sorted columns (docs/data.md, the items table)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.parquet

from pinfm.embeddings.errors import UserError
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.parts import request_parts
from pinfm.inference.requests.values import as_array, convert, refuse, times

# What the columns of the table are called as inputs of the model, where that is another name.
INPUTS = {"item_id": "candidate_item_id", "created_at": "candidate_created_at", "content": "candidate_content"}


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Items in ascending order of their int64.

    Args:
        ids: int64, no two alike.
        written: the ids as the log writes them.
        features: what the table says of the items, among the inputs of the model, by input; and `attributes`.
        duplicates: rows that were left out because their item has one before them.
    """

    ids: npt.NDArray[np.int64]
    written: pd.Series
    features: dict[str, npt.NDArray[Any]]
    duplicates: int

    def take(self, keep: npt.NDArray[Any]) -> "Catalogue":
        """Some of the items, in ascending order."""
        features = {name: values[keep] for name, values in self.features.items()}
        return replace(self, ids=self.ids[keep], written=self.written.iloc[keep], features=features)


def read_catalogue(path: Path, columns: Sequence[Column], attributes: Sequence[str]) -> Catalogue:
    """Reads an items table.

    Args:
        path: a Parquet file, or a folder of such.
        columns: the model's inputs.
        attributes: columns that searches are to filter by, besides those that the model reads.

    Raises:
        UserError: it can't be read, has no items, lacks a column, or holds a value that can't be.
    """
    inputs = {column.name: column for column in columns if column.scope == "candidate"}
    tables = [_table(part.path, [*INPUTS, *inputs, *attributes]) for part in request_parts(path)]
    table = pyarrow.concat_tables(tables, promote_options="permissive")
    if not table.num_rows:
        raise UserError(f"{path} holds no items; give a table with at least one row.")
    for name in ("item_id", *attributes):
        if name not in table.column_names:
            raise UserError(f"{path} has no column {name!r}; it has {', '.join(table.column_names)}.")
    frame = table.to_pandas(integer_object_nulls=True)
    rows = np.arange(len(frame))
    try:
        ids = convert(as_array(frame["item_id"]), replace(inputs["candidate_item_id"], name="item_id"), rows)
        features = {
            INPUTS.get(name, name): _values(frame[name], inputs.get(INPUTS.get(name, name)), name, rows)
            for name in table.column_names
            if name != "item_id"
        }
    except UserError as error:
        raise UserError(f"{path}, {error}") from error
    sorted_ids, first = np.unique(ids, return_index=True)  # of equal ids the first row
    whole = Catalogue(ids=ids, written=frame["item_id"], features=features, duplicates=len(ids) - len(sorted_ids))
    return whole.take(first)


def _table(path: Path, wanted: Sequence[str]) -> pyarrow.Table:
    try:
        file = pyarrow.parquet.ParquetFile(path)
        return file.read([name for name in file.schema_arrow.names if name in wanted])
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} can't be read as Parquet; give a Parquet file of items.") from error


def _values(cells: pd.Series, column: Column | None, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """A column of the table in the type that the model takes it in; categories where the model takes none."""
    column = replace(column or Column(name=name, dtype="int64", scope="candidate"), name=name)
    if column.width is not None:
        return _vectors(cells, column, rows)
    if name == "created_at":
        return times(as_array(cells), column, rows)
    values = convert(as_array(cells), column, rows)
    if values.dtype.kind == "f":
        refuse(~np.isfinite(values), rows, column, "holds a value that is not finite (as float32); correct it")
    return values


def _vectors(cells: pd.Series, column: Column, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(V, width); zeros where an item has none."""
    width = column.width or 0
    lists = [[] if cell is None or np.ndim(cell) == 0 else cell for cell in cells]
    sizes = np.fromiter(map(len, lists), np.int64, len(lists))
    refuse((sizes != 0) & (sizes != width), rows, column, f"must be a vector of {width} values")
    vectors = np.zeros((len(lists), width), np.float32)
    for row in np.flatnonzero(sizes):
        vectors[row] = lists[row]
    refuse(
        np.asarray((~np.isfinite(vectors)).any(axis=1)),
        rows,
        column,
        "holds a value that is not finite (as float32); correct it",
    )
    return vectors
