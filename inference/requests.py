"""Requests as pandas frames, and as the tensors that the artefact takes.

One row per request. Columns are the artefact's inputs: scalars per request, lists for events and candidates:

    user_id  request_timestamp  history_item_id  history_action   ...  candidate_item_id  candidate_created_at  tab
    7        1651800000         [31, 5, 8]       ["click", ...]   ...  [4, 9]             [165..., 165...]      [1, 1]
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import InputSchema

HISTORY = ("item_id", "action", "surface", "timestamp")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input of the artefact.

    Args:
        name: of the column and of the input.
        dtype: `int64` or `float32`.
        scope: `request` (one value), `history` or `candidate` (a list).
        vocabulary: names that stand for the codes 1, 2, ...; empty where values are numbers already.
        width: values of each entry; above 1 for content vectors.
    """

    name: str
    dtype: str
    scope: str
    vocabulary: tuple[str, ...] = ()
    width: int = 1

    def to_json(self) -> dict[str, Any]:
        """As signature.json lists it."""
        return {**asdict(self), "vocabulary": list(self.vocabulary)}


def input_columns(schema: InputSchema) -> tuple[Column, ...]:
    """The inputs of a model with this schema, in the order of signature.json."""
    vocabularies = {"action": schema.actions, "surface": schema.surfaces}
    columns = [
        Column(name="user_id", dtype="int64", scope="request"),
        Column(name="request_timestamp", dtype="int64", scope="request"),
    ]
    for name in HISTORY:
        vocabulary = vocabularies.get(name, ())
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


def to_inputs(frame: pd.DataFrame, columns: Sequence[Column], first_row: int = 0) -> dict[str, Tensor]:
    """Turns requests into the artefact's inputs.

    Args:
        frame: one row per request.
        columns: the artefact's inputs.
        first_row: number of the frame's first row in the caller's file, for messages.

    Raises:
        UserError: a column is missing, has the wrong type, or its lists differ in length from the others'.
    """
    missing = [column.name for column in columns if column.name not in frame]
    if missing:
        raise UserError(f"the requests lack the column {missing[0]!r}; they need {[c.name for c in columns]}.")
    inputs: dict[str, Tensor] = {}
    for column in columns:
        if column.scope == "request":
            # A copy: pandas hands out arrays that are read-only.
            inputs[column.name] = torch.tensor(_convert(frame[column.name].to_numpy(), column))
    for scope in ("history", "candidate"):
        inputs |= _list_inputs(frame, [column for column in columns if column.scope == scope], scope, first_row)
    return inputs


def _list_inputs(frame: pd.DataFrame, columns: Sequence[Column], scope: str, first_row: int) -> dict[str, Tensor]:
    lengths = _lengths(frame, columns[0])
    inputs = {f"{scope}_lengths": torch.from_numpy(lengths)}
    for column in columns:
        different = np.flatnonzero(_lengths(frame, column) != lengths)
        if len(different):
            row = int(different[0])
            raise UserError(
                f"row {first_row + row}: {column.name} has {len(frame[column.name].iloc[row])} values, "
                f"{columns[0].name} has {lengths[row]}; the lists of a request must be equally long."
            )
        values = [np.asarray(cell) for cell in frame[column.name] if len(cell)]
        if column.width > 1:
            values = [_vectors(cell, column) for cell in values]
        empty = np.zeros((0, column.width) if column.width > 1 else 0, dtype=column.dtype)
        inputs[column.name] = torch.from_numpy(_convert(np.concatenate(values) if values else empty, column))
    return inputs


def _vectors(cell: npt.NDArray[Any], column: Column) -> npt.NDArray[Any]:
    """(candidates of a request, width)."""
    if any(np.size(vector) != column.width for vector in cell):
        raise UserError(f"column {column.name!r} must hold vectors of {column.width} values; see signature.json.")
    return np.stack([np.asarray(vector, dtype=np.float32) for vector in cell])


def _lengths(frame: pd.DataFrame, column: Column) -> npt.NDArray[np.int64]:
    try:
        return np.fromiter((len(cell) for cell in frame[column.name]), dtype=np.int64, count=len(frame))
    except TypeError as error:
        raise UserError(f"column {column.name!r} must hold a list in every row.") from error


def _convert(values: npt.NDArray[Any], column: Column) -> npt.NDArray[Any]:
    if column.vocabulary and values.dtype.kind in "OUT":
        codes = {name: code for code, name in enumerate(column.vocabulary, start=1)}
        return np.fromiter((codes.get(str(value), 0) for value in values), dtype=np.int64, count=len(values))
    if values.dtype.kind not in ("iub" if column.dtype == "int64" else "iubf"):
        raise UserError(f"column {column.name!r} has {values.dtype} values, but needs {column.dtype}.")
    if column.dtype == "int64" and column.vocabulary and ((values < 0) | (values > len(column.vocabulary))).any():
        raise UserError(f"column {column.name!r} has a code outside 0..{len(column.vocabulary)}; see signature.json.")
    return np.ascontiguousarray(values, dtype=column.dtype)
