"""Values of a column of requests, of whatever type pandas gives them -> the column's tensor type."""

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pinfm.embeddings.errors import UserError
from pinfm.inference.requests.columns import TIMES, Column
from pinfm.inference.requests.ids import int64_of, integer_id, whole_number
from pinfm.inference.requests.numbers import category, seconds
from pinfm.model.written import MOST

Rows = npt.NDArray[np.int64]


def refuse(bad: npt.NDArray[np.bool_], rows: Rows, column: Column, problem: str) -> None:
    """Names the first row with a bad value, if there is one.

    Raises:
        UserError: there is one.
    """
    if bad.any():
        raise UserError(f"row {rows[np.flatnonzero(bad)[0]]}: {column.name} {problem}.")


def as_array(cell: Any) -> npt.NDArray[Any]:
    """A list or column of values as an array that holds each as it is: numpy would not, of mixed ones."""
    if isinstance(cell, (list, tuple)):
        kinds = set(map(type, cell))
        if kinds <= {float, bool} or (kinds == {int} and min(cell) >= -MOST and max(cell) <= MOST):
            return np.asarray(cell)
        array = np.empty(len(cell), dtype=object)
        array[:] = cell
        return array
    if isinstance(cell, (pd.Series, pd.api.extensions.ExtensionArray)) and not isinstance(cell.dtype, np.dtype):
        # pandas makes floats of its nullable integers where one is missing.
        return np.asarray(cell.astype(object))
    return np.asarray(cell)


def joined(cells: Sequence[npt.NDArray[Any]], column: Column) -> npt.NDArray[Any]:
    """The values of all lists one after the other, each as it is."""
    filled = [cell for cell in cells if len(cell)]
    if not filled:
        return np.zeros((0,) if column.width is None else (0, column.width), dtype=column.dtype)
    if len({cell.dtype for cell in filled}) > 1:
        filled = [cell.astype(object) for cell in filled]  # joined, int64 beside uint64 would become floats
    return np.concatenate(filled)


def convert(values: npt.NDArray[Any], column: Column, rows: Rows) -> npt.NDArray[Any]:
    """Values of a column in its type.

    Args:
        values: of all its rows.
        column: which one.
        rows: the row of each value, for messages.

    Raises:
        UserError: a value is missing or is none of this column's.
    """
    if column.vocabulary is not None:
        return _codes(values, column, rows)
    if column.dtype == "float32":
        return _floats(values, column, rows)
    if column.ids is not None:
        return _ids(values, column, rows)
    if column.name in TIMES:
        return times(values, column, rows)
    if values.dtype.kind not in "mM":  # a time is no category
        # As in training, 0 is the missing value of a categorical feature.
        values = np.where(pd.isna(values), 0, values)
    return _integers(values, column, rows, category)


def _integers(
    values: npt.NDArray[Any], column: Column, rows: Rows, of_one: Callable[[Any], int | None] = integer_id
) -> npt.NDArray[np.int64]:
    """Whole numbers; text may spell them, as `of_one` reads it."""
    if values.dtype.kind in "ib":
        return values.astype(np.int64)
    if values.dtype.kind == "u":
        refuse(
            values > np.uint64(MOST), rows, column, "holds a missing value, or no whole number from -2**63 to 2**63 - 1"
        )
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        exact_below = 2.0 ** (np.finfo(values.dtype).nmant + 1)  # of a larger float, digits may be lost
        whole = (values == np.floor(values)) & (np.abs(values) < exact_below)
        refuse(
            ~whole, rows, column, "holds a missing value, a fraction, or a float too large to be exact; give integers"
        )
        return values.astype(np.int64)
    wanted = "holds a missing value, or no whole number from -2**63 to 2**63 - 1"
    return _each(values, of_one, wanted, column, rows)


def _ids(values: npt.NDArray[Any], column: Column, rows: Rows) -> npt.NDArray[np.int64]:
    ids = column.ids or "int64"
    if ids == "int64":
        return _integers(values, column, rows)
    if ids == "uint64" and values.dtype.kind in "iu":
        refuse(values < 0, rows, column, "holds a negative id, but the log's ids are unsigned")
        return values.astype(np.uint64).view(np.int64)
    wanted = "holds a missing value or no integer from 0 to 2**64 - 1, as the log's ids are"
    if ids == "text":
        wanted = "holds a missing value or a number, but the log's ids are text; give each as its text"
    return _each(values, lambda value: int64_of(value, ids), wanted, column, rows)


def times(values: npt.NDArray[Any], column: Column, rows: Rows) -> npt.NDArray[np.int64]:
    """Unix seconds; a typed time, or one in ISO form, has no doubtful unit, and is of UTC where it names no zone.

    Raises:
        UserError: a value is missing or no time.
    """
    if values.dtype.kind == "M":
        refuse(np.isnat(values), rows, column, "holds a missing time")
        return values.astype("datetime64[s]").astype(np.int64)
    if values.dtype.kind in "OUT":
        wanted = "holds a missing value or something that is no time; give Unix seconds"
        return _each(values, seconds, wanted, column, rows)
    # A fraction of a second is rounded down, as in a log.
    return _integers(np.floor(values) if values.dtype.kind == "f" else values, column, rows)


def _floats(values: npt.NDArray[Any], column: Column, rows: Rows) -> npt.NDArray[np.float32]:
    if values.dtype.kind not in "iubfO":
        raise UserError(f"column {column.name!r} has {values.dtype} values, but needs float32.")
    if values.dtype.kind == "O":
        numbers = np.array([isinstance(value, Number) for value in values], dtype=np.bool_)
        refuse(~numbers, rows, column, "holds a missing value or something that is no number")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which InputChecks names
        return np.ascontiguousarray(values, dtype=np.float32)


def _codes(values: npt.NDArray[Any], column: Column, rows: Rows) -> npt.NDArray[np.int64]:
    """Codes of names, 0 for an unknown or a missing one; where no name is a number, numbers are codes already."""
    code_of: dict[Any, int] = {name: code for code, name in enumerate(column.vocabulary or (), start=1)}
    if not column.numbered and values.dtype.kind in "iub":
        return _integers(values, column, rows)
    missing = pd.isna(values)
    if column.numbered:
        code_of = {int(name): code for name, code in code_of.items()}
        fractions = "holds a number that is not whole, but its names are whole numbers"
        numbers = [None if gone else whole_number(value) for value, gone in zip(values, missing, strict=True)]
        bad = [number is None and not isinstance(value, str) for value, number in zip(values, numbers, strict=True)]
        refuse(np.array(bad, dtype=np.bool_) & ~missing, rows, column, fractions)
        return np.fromiter((code_of.get(number, 0) for number in numbers), dtype=np.int64, count=len(numbers))
    named = np.array([isinstance(value, str) for value in values], dtype=np.bool_)
    if not named.any():
        floats = np.array([isinstance(value, float) for value in values], dtype=np.bool_)
        refuse(floats & ~missing, rows, column, "holds floats; give names, or codes as integers")
        return _integers(np.where(missing, 0, values), column, rows)
    refuse(~named & ~missing, rows, column, "mixes names and codes; give one kind")
    return np.fromiter((code_of.get(value, 0) for value in values), dtype=np.int64, count=len(values))


def _each(
    values: npt.NDArray[Any], to_int64: Callable[[Any], int | None], problem: str, column: Column, rows: Rows
) -> npt.NDArray[np.int64]:
    """Value by value, for what numpy has no type of."""
    found = [to_int64(value) for value in values]
    refuse(np.array([number is None for number in found], dtype=np.bool_), rows, column, problem)
    return np.array(found, dtype=np.int64)
