"""Requests as pandas frames, and as the tensors that the artefact takes.

One row per request. Columns are the artefact's inputs: scalars per request, lists for events and candidates:

    user_id  request_timestamp  history_item_id  history_action   ...  candidate_item_id  candidate_created_at  tab
    7        1651800000         [31, 5, 8]       ["click", ...]   ...  [4, 9]             [165..., 165...]      [1, 1]
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import InputSchema

HISTORY = ("item_id", "action", "surface", "timestamp")
WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]*")
MIXED = "mixes names and codes; give one kind"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input of the artefact.

    Args:
        name: of the column and of the input.
        dtype: `int64` or `float32`.
        scope: `request` (one value), `history` or `candidate` (a list).
        vocabulary: names that stand for the codes 1, 2, ...; None where values are numbers already. Where all names
            are whole numbers, as of surfaces that a log numbers, numbers are names too, not codes.
        width: length of each entry's vector; None where an entry is one value.
    """

    name: str
    dtype: str
    scope: str
    vocabulary: tuple[str, ...] | None = None
    width: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As signature.json lists it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Column":
        """The inverse of `to_json`."""
        vocabulary = values["vocabulary"]
        return cls(**{**values, "vocabulary": None if vocabulary is None else tuple(vocabulary)})


def input_columns(schema: InputSchema) -> tuple[Column, ...]:
    """The inputs of a model with this schema, in the order of signature.json."""
    vocabularies = {"action": schema.actions, "surface": schema.surfaces}
    columns = [
        Column(name="user_id", dtype="int64", scope="request"),
        Column(name="request_timestamp", dtype="int64", scope="request"),
    ]
    for name in HISTORY:
        vocabulary = vocabularies.get(name)
        columns.append(Column(name=f"history_{name}", dtype="int64", scope="history", vocabulary=vocabulary))
    for name in ("candidate_item_id", "candidate_created_at"):
        columns.append(Column(name=name, dtype="int64", scope="candidate"))
    if schema.content_dim:
        width = schema.content_dim
        columns.append(Column(name="candidate_content", dtype="float32", scope="candidate", width=width))
    for feature in schema.features:
        dtype = "int64" if feature.kind == "categorical" else "float32"
        columns.append(Column(name=feature.name, dtype=dtype, scope=feature.scope))
    return tuple(columns)


def to_inputs(
    frame: pd.DataFrame, columns: Sequence[Column], first_row: int = 0, max_history: int | None = None
) -> dict[str, Tensor]:
    """Turns requests into the artefact's inputs.

    Args:
        frame: one row per request.
        columns: the artefact's inputs.
        first_row: number of the frame's first row in the caller's file, for messages.
        max_history: newest events kept of each history, as in training; None keeps all.

    Raises:
        UserError: a column is missing or stands there twice, has the wrong type or an impossible value, or its lists
            differ in length from the others'; a history is out of order or not older than its request.
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
            # A copy: pandas hands out arrays that are read-only.
            inputs[column.name] = torch.tensor(_convert(frame[column.name].to_numpy(), column, rows))
    for scope, newest in (("history", max_history), ("candidate", None)):
        own = [column for column in columns if column.scope == scope]
        inputs |= _list_inputs(frame, own, scope, first_row, newest)
    _require_past(inputs, first_row)
    return inputs


def _require_past(inputs: dict[str, Tensor], first_row: int) -> None:
    """Training saw histories that ascend and end before their request; others would be read as what they are not."""
    owner_T = torch.repeat_interleave(inputs["history_lengths"])
    time_T = inputs["history_timestamp"]
    late_T = time_T >= inputs["request_timestamp"][owner_T]
    falls_T = torch.zeros_like(late_T)
    falls_T[1:] = (time_T[1:] < time_T[:-1]) & (owner_T[1:] == owner_T[:-1])
    for bad_T, problem in (
        (falls_T, "is not in order of time; put the oldest event first"),
        (late_T, "holds an event that is not older than request_timestamp; both are Unix seconds"),
    ):
        if bad_T.any():
            raise UserError(f"row {first_row + int(owner_T[bad_T][0])}: history_timestamp {problem}.")


def _list_inputs(
    frame: pd.DataFrame, columns: Sequence[Column], scope: str, first_row: int, newest: int | None
) -> dict[str, Tensor]:
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
    inputs = {f"{scope}_lengths": torch.from_numpy(lengths)}
    rows = first_row + np.repeat(np.arange(len(lengths)), lengths)
    for column in columns:
        values = _joined(cells[column.name], column, first_row)
        inputs[column.name] = torch.from_numpy(_convert(values, column, rows))
    return inputs


def _cells(frame: pd.DataFrame, column: Column, first_row: int) -> list[npt.NDArray[Any]]:
    """The lists of a column as arrays."""
    arrays = []
    for row, cell in enumerate(frame[column.name], start=first_row):
        if not isinstance(cell, (list, tuple, np.ndarray, pd.Series)):
            raise UserError(f"row {row}: {column.name} is no list; see signature.json.")
        try:
            array = np.asarray(cell) if column.width is None else _vectors(cell, column.width)
            if column.width is None and array.ndim != 1:
                raise ValueError("a list holds lists")
        except (ValueError, TypeError) as error:
            wanted = "values" if column.width is None else f"vectors of {column.width} values"
            raise UserError(f"row {row}: {column.name} must be a list of {wanted}; see signature.json.") from error
        # Signed before they are joined: numpy makes floats of int64 beside uint64.
        arrays.append(_signed(array, column, np.full(len(array), row)))
    return arrays


def _signed(values: npt.NDArray[Any], column: Column, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    if values.dtype != np.uint64:
        return values
    _refuse(values > np.iinfo(np.int64).max, rows, column, "holds a value above 2**63 - 1; ids are int64")
    return values.astype(np.int64)


def _refuse(bad: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], column: Column, problem: str) -> None:
    """Names the first row with a bad value, if there is one."""
    if bad.any():
        row = rows[np.flatnonzero(bad)[0]]
        raise UserError(f"row {row}: {column.name} {problem}.")


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


def _joined(cells: Sequence[npt.NDArray[Any]], column: Column, first_row: int) -> npt.NDArray[Any]:
    filled = [row for row, cell in enumerate(cells) if len(cell)]
    if not filled:
        return np.zeros((0,) if column.width is None else (0, column.width), dtype=column.dtype)
    if column.vocabulary is not None:
        # Joined, numbers beside names would become names.
        named = np.array([_holds_names(cells[row]) for row in filled])
        _refuse(named != named[0], first_row + np.array(filled), column, MIXED)
    return np.concatenate([cells[row] for row in filled])


def _holds_names(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind in "OUT"


def _convert(values: npt.NDArray[Any], column: Column, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Values of a column in its type.

    Args:
        values: of all its rows.
        column: which one.
        rows: the row of each value, for messages.
    """
    if column.vocabulary is not None and _holds_names(values):
        code_of = {name: code for code, name in enumerate(column.vocabulary, start=1)}
        named = np.array([value is None or isinstance(value, str) for value in values], dtype=np.bool_)
        _refuse(~named, rows, column, MIXED)
        return np.fromiter((code_of.get(value, 0) for value in values), dtype=np.int64, count=len(values))
    if values.dtype.kind == "O":
        numbers = np.array([isinstance(value, Number) for value in values], dtype=np.bool_)
        _refuse(~numbers, rows, column, "holds a missing value or something that is no number")
    if values.dtype.kind == "f" and column.dtype == "int64":
        _refuse(values != np.floor(values), rows, column, "holds a missing value or a fraction; give whole numbers")
    if values.dtype.kind not in ("iub" if column.dtype == "int64" else "iubf"):
        raise UserError(f"column {column.name!r} has {values.dtype} values, but needs {column.dtype}.")
    values = _signed(values, column, rows)
    if column.vocabulary is not None:
        if all(WHOLE_NUMBER.fullmatch(name) for name in column.vocabulary):
            codes = {int(name): code for code, name in enumerate(column.vocabulary, start=1)}
            return np.fromiter((codes.get(int(value), 0) for value in values), dtype=np.int64, count=len(values))
        most = len(column.vocabulary)
        _refuse((values < 0) | (values > most), rows, column, f"has a code outside 0..{most}; see signature.json")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, dtype=column.dtype)
    if column.dtype == "float32":
        infinite = ~np.isfinite(converted).all(axis=tuple(range(1, converted.ndim)))
        _refuse(infinite, rows, column, "holds a value that is no finite float32; correct it")
    return converted
