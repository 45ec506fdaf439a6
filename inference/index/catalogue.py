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
import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.frames import LISTS, written_ids
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
    read = [name for name, of_model in INPUTS.items() if of_model in inputs]
    table = _table(path, [*read, *inputs, *attributes])
    if not table.num_rows:
        raise UserError(f"{path} holds no items; give a table with at least one row.")
    for name in ("item_id", *attributes):
        if name not in table.column_names:
            raise UserError(f"{path} has no column {name!r}; it has {', '.join(table.column_names)}.")
    frame = table.to_pandas(integer_object_nulls=True)
    rows = np.arange(len(frame))
    try:
        id_column = replace(inputs["candidate_item_id"], name="item_id")
        ids = convert(as_array(frame["item_id"]), id_column, rows)
        features = {
            INPUTS.get(name, name): _values(frame[name], inputs.get(INPUTS.get(name, name)), name, rows)
            for name in table.column_names
            if name != "item_id"
        }
    except UserError as error:
        raise UserError(f"{path}, {error}") from error
    for name in attributes:
        if features[name].dtype != np.int64:
            raise UserError(f"{path}: {name} is a number that the model measures by; filter by columns of categories.")
    written = written_ids([frame["item_id"]], torch.from_numpy(ids), id_column)
    sorted_ids, first = np.unique(ids, return_index=True)  # of equal ids the first row
    whole = Catalogue(ids=ids, written=written, features=features, duplicates=len(ids) - len(sorted_ids))
    return whole.take(first)


def _table(path: Path, wanted: Sequence[str]) -> pyarrow.Table:
    """The wanted columns of all files."""
    tables = []
    for part in request_parts(path, "items"):
        try:
            file = pyarrow.parquet.ParquetFile(part.path)
            names = [name for name in file.schema_arrow.names if name in wanted]
            tables.append(file.read(names))
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"{part.path} can't be read as Parquet; give a Parquet file of items.") from error
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise UserError(f"{part.path} has two columns called {twice[0]!r}; rename or drop one.")
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive")
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the files of {path} do not fit each other ({reason}); write them with one schema.") from error


def _values(cells: pd.Series, column: Column | None, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """A column of the table in the type that the model takes it in; categories where the model takes none."""
    column = replace(column or Column(name=name, dtype="int64", scope="candidate"), name=name)
    if column.width is not None:
        return vectors(cells, column, rows)
    if name == "created_at":
        return times(as_array(cells), column, rows)
    values = convert(as_array(cells), column, rows)
    if values.dtype.kind == "f":
        refuse(~np.isfinite(values), rows, column, "holds a value that is not finite (as float32); correct it")
    return values


def vectors(cells: pd.Series, column: Column, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Lists of numbers as the model takes them.

    Args:
        cells: one list an item; zeros where an item has none.
        column: with a width.
        rows: the row of each cell, for messages.

    Returns:
        (V, width) float32.

    Raises:
        UserError: a cell is no such list, or holds a value that is not finite.
    """
    width = column.width or 0
    found, bad = np.zeros((len(cells), width), np.float32), np.zeros(len(cells), np.bool_)
    for row, cell in enumerate(cells):
        if isinstance(cell, LISTS):
            try:
                vector = np.asarray(cell, np.float32)
            except (TypeError, ValueError):
                bad[row] = True
                continue
            bad[row] = vector.shape not in ((0,), (width,))
            if vector.shape == (width,):
                found[row] = vector
        else:
            bad[row] = not pd.isna(cell)
    refuse(bad, rows, column, f"must be a vector of {width} values")
    refuse(
        np.asarray((~np.isfinite(found)).any(axis=1)),
        rows,
        column,
        "holds a value that is not finite (as float32); correct it",
    )
    return found
