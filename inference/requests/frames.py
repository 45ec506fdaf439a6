"""Requests as pandas frames -> the tensors that the artefact takes.

One row per request. Columns are the artefact's inputs: scalars per request, lists for events and candidates:

    user_id  request_timestamp  history_item_id  history_action   ...  candidate_item_id  candidate_created_at  tab
    7        1651800000         [31, 5, 8]       ["click", ...]   ...  [4, 9]             [165..., 165...]      [1, 1]
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import Column, Scope
from pinfm.inference.requests.values import as_array, convert, joined

LISTS = (list, tuple, np.ndarray, pd.Series, pd.api.extensions.ExtensionArray)


def to_inputs(
    frame: pd.DataFrame, columns: Sequence[Column], checks: InputChecks, first_row: int = 0
) -> dict[str, Tensor]:
    """Turns requests into the artefact's inputs.

    Args:
        frame: one row per request.
        columns: the artefact's inputs.
        checks: of the same inputs; of longer histories than it allows the newest events are taken.
        first_row: number of the frame's first row in the caller's file, for messages.

    Raises:
        UserError: a column is missing or stands there twice, has the wrong type or an impossible value, or its lists
            differ in length from the others'; a history is out of order or not older than its request.
    """
    inputs = converted(frame, columns, checks.max_history, first_row)
    if problem := checks(inputs, first_row):
        raise UserError(problem)
    return inputs


def to_retrieve(
    frame: pd.DataFrame, columns: Sequence[Column], checks: InputChecks, first_row: int = 0
) -> dict[str, Tensor]:
    """As `to_inputs`, of what retrieval reads: histories, and when each request is made.

    Args:
        frame: one row per request.
        columns: the artefact's inputs.
        checks: of the same inputs.
        first_row: number of the frame's first row in the caller's file, for messages.

    Raises:
        UserError: see `to_inputs`.
    """
    inputs = converted(frame, retrieval_columns(columns), checks.max_history, first_row)
    problem = checks.to_encode(inputs, first_row)
    if problem == "":
        problem = checks.to_retrieve(inputs, inputs["history_lengths"], inputs["history_timestamp"], first_row)
    if problem != "":
        raise UserError(problem)
    return inputs


def retrieval_columns(columns: Sequence[Column]) -> list[Column]:
    """The inputs that retrieval reads: histories, and when each request is made."""
    return [column for column in columns if column.scope == "history" or column.name == "request_timestamp"]


def converted(frame: pd.DataFrame, columns: Sequence[Column], newest: int, first_row: int = 0) -> dict[str, Tensor]:
    """Columns as tensors, each value looked at by itself.

    Args:
        frame: one row per request.
        columns: those that are wanted.
        newest: events that are taken from the end of a history.
        first_row: number of the frame's first row in the caller's file, for messages.

    Raises:
        UserError: see `to_inputs`.
    """
    missing = [column.name for column in columns if column.name not in frame]
    if missing:
        raise UserError(f"the requests lack the column {missing[0]!r}; they need {[c.name for c in columns]}.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"the requests have two columns called {twice!r}; rename or drop one.")
    inputs: dict[str, Tensor] = {}
    rows = first_row + np.arange(len(frame))
    for column in columns:
        if column.scope == "request":
            # torch.tensor copies: pandas hands out arrays that are read-only.
            inputs[column.name] = torch.tensor(convert(as_array(frame[column.name]), column, rows))
    scopes: tuple[tuple[Scope, int | None], ...] = (("history", newest), ("candidate", None))
    for scope, most in scopes:
        own = [column for column in columns if column.scope == scope]
        if own:
            values = list_values(frame, own, first_row, most)
            inputs |= {name: torch.from_numpy(value) for name, value in values.items()}
    return inputs


def written_ids(cells: Iterable[Any], ids_N: Tensor, column: Column) -> pd.Series:
    """Ids as the frame gives them.

    Args:
        cells: the lists that hold them.
        ids_N: what `to_inputs` made of them.
        column: which one it is.
    """
    if column.ids == "text":
        return pd.Series([str(text) for cell in cells for text in cell], dtype="string")
    return pd.Series(ids_N.numpy().view(np.uint64) if column.ids == "uint64" else ids_N.numpy())


def list_values(
    frame: pd.DataFrame, columns: Sequence[Column], first_row: int = 0, newest: int | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The values of lists, one request's after the other's.

    Args:
        frame: one row per request.
        columns: of one scope.
        first_row: number of the frame's first row in the caller's file, for messages.
        newest: values that are taken from the end of each list; None for all.

    Returns:
        Name -> values; under `history_lengths` or `candidate_lengths` how many each request has.

    Raises:
        UserError: a list is none, holds an impossible value, or differs in length from the others of its request.
    """
    cells = {column.name: _cells(frame, column, first_row) for column in columns}
    lengths = _lengths(cells[columns[0].name])
    for column in columns:
        different = np.flatnonzero(_lengths(cells[column.name]) != lengths)
        if len(different):
            row = int(different[0])
            raise UserError(
                f"row {first_row + row}: {column.name} has {len(cells[column.name][row])} values, "
                f"{columns[0].name} has {lengths[row]}; the lists of a request must be equally long."
            )
    if newest is not None:
        cells = {name: [cell[-newest:] for cell in column_cells] for name, column_cells in cells.items()}
        lengths = np.minimum(lengths, newest)
    rows = first_row + np.repeat(np.arange(len(lengths)), lengths)
    values = {column.name: convert(joined(cells[column.name], column), column, rows) for column in columns}
    return {f"{columns[0].scope}_lengths": lengths, **values}


def _cells(frame: pd.DataFrame, column: Column, first_row: int) -> list[npt.NDArray[Any]]:
    """The lists of a column as arrays."""
    arrays = []
    for row, cell in enumerate(frame[column.name], start=first_row):
        if not isinstance(cell, LISTS):
            raise UserError(f"row {row}: {column.name} is no list; see signature.json.")
        try:
            array = as_array(cell) if column.width is None else _vectors(cell, column.width)
            if column.width is None and (array.ndim != 1 or any(isinstance(value, LISTS) for value in array[:1])):
                raise ValueError("a list holds lists")
        except (ValueError, TypeError) as error:
            wanted = "values" if column.width is None else f"vectors of {column.width} values"
            raise UserError(f"row {row}: {column.name} must be a list of {wanted}; see signature.json.") from error
        arrays.append(array)
    return arrays


def _vectors(cell: Any, width: int) -> npt.NDArray[Any]:
    """(candidates of a request, width)."""
    if not len(cell):
        return np.zeros((0, width), dtype=np.float32)
    vectors = np.stack([np.asarray(vector, dtype=np.float32) for vector in cell])
    if vectors.shape[1:] != (width,):
        raise ValueError("a vector has another length")
    return vectors


def _lengths(cells: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    return np.fromiter((len(cell) for cell in cells), dtype=np.int64, count=len(cells))
