"""Marks and requests as a host has them -> the whole numbers that counters are kept by.

C  numbers of a mark     N  marks, or candidates
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pinfm.embeddings.errors import UserError
from pinfm.inference.live_counts.keys import Int64s
from pinfm.inference.requests.checks import END_OF_TIME, FUTURE
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.ids import whole_number
from pinfm.inference.requests.values import Rows, as_array, convert, refuse, times
from pinfm.model.live_counts import ITEM, LABEL, MARK, USER, LiveCountsSpec
from pinfm.model.schema import IdType

TIMESTAMP, KIND, ITEM_ID, USER_ID = MARK
REQUEST_TIMESTAMP = "request_timestamp"
_TIMES = {name: Column(name=name, dtype="int64", scope="request") for name in (TIMESTAMP, REQUEST_TIMESTAMP)}


class Inputs:
    """What counters read of marks and requests.

    Args:
        spec: the counters.
        ids: how the log writes `item_id` and `user_id`, where it is not int64.
    """

    def __init__(self, spec: LiveCountsSpec, ids: Mapping[str, IdType]) -> None:
        self.spec, self.ids = spec, {name: ids.get(name, "int64") for name in (ITEM_ID, USER_ID)}
        self.codes = {kind: code for code, kind in enumerate(spec.kinds)}
        # Added to the time of a label's impression.
        delays = [spec.label_delay_seconds if kind.startswith(LABEL) else 0 for kind in spec.kinds]
        self.delay_of = np.array(delays, dtype=np.int64)
        key_columns = [column for key in spec.of for column in columns_of(key)]
        # Of a mark: its time, its kind's code, and what keys are made of.
        self.names = (TIMESTAMP, KIND, *dict.fromkeys(key_columns))
        self.columns = {name: self.column(name) for name in (ITEM_ID, USER_ID, *spec.attributes())}

    def keys(self, key: str, values: Mapping[str, Int64s]) -> Int64s:
        """(N, V) what makes the keys of one of `spec.of`."""
        return np.stack([values[name] for name in columns_of(key)]).T  # each column lies in one piece

    def column(self, name: str, called: str | None = None) -> Column:
        """One that keys are made of, called so in messages."""
        return Column(name=called or name, dtype="int64", scope="candidate", ids=self.ids.get(name))

    def marks(self, frame: pd.DataFrame) -> Int64s:
        """(C, N) the marks of a frame, in its order; those of labels at the time from which they count.

        Raises:
            UserError: a column is missing, a kind is none of the counters', or a value is none of its column's.
        """
        require_frame(frame, "marks")
        for name in self.names:
            if name not in frame:
                raise UserError(f"the marks lack the column {name!r}; they need {list(self.names)}.")
        rows = np.arange(len(frame))
        kinds = self._kinds(frame[KIND], rows)
        seconds = moments(frame[TIMESTAMP], TIMESTAMP, rows) + self.delay_of[kinds]
        ids = [_converted(frame[name], self.columns[name], rows) for name in self.names[2:]]
        return np.stack([seconds, kinds, *ids])

    def _kinds(self, kinds: pd.Series, rows: Rows) -> Int64s:
        try:
            codes, names = pd.factorize(kinds, use_na_sentinel=False)
        except TypeError as error:
            raise UserError("the marks' kind holds lists; give the name of one kind a row.") from error
        places = np.array([self._code(name) for name in names], dtype=np.int64)
        unknown = places < 0
        if unknown.any():
            row, name, counted = rows[unknown[codes]][0], names[unknown].tolist()[0], ", ".join(self.spec.kinds)
            raise UserError(f"row {row}: kind {name!r} is none of those counted ({counted}); leave such marks out.")
        return places[codes]

    def _code(self, name: Any) -> int:
        """Of a kind; a number is the name that it spells, as in histories."""
        number = whole_number(name)
        spelt = name if number is None or name in self.codes else str(number)
        return self.codes.get(spelt, -1)


def require_frame(frame: object, what: str) -> None:
    """Looks at what a caller gives as a frame.

    Raises:
        UserError: it is none, or two of its columns have one name.
    """
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"the {what} are no pandas DataFrame but {type(frame).__name__}; make one of them.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"the {what} have two columns called {twice!r}; rename or drop one.")


def columns_of(key: str) -> tuple[str, ...]:
    """The columns that make one of `spec.of`; an attribute stands last."""
    if key == ITEM:
        return (ITEM_ID,)
    return (USER_ID, key.removeprefix(USER)) if key.startswith(USER) else (key,)


def has_attribute(key: str, keys_NV: Int64s) -> npt.NDArray[np.bool_]:
    """(N) whether keys are counted: those of a missing attribute are not."""
    return np.ones(len(keys_NV), dtype=np.bool_) if key == ITEM else keys_NV[:, -1] != 0


def moments(values: Any, name: str, rows: Rows) -> Int64s:
    """Unix seconds.

    Args:
        values: seconds, or times of any type that requests may have.
        name: `timestamp` or `request_timestamp`.
        rows: the row of each, for messages.

    Raises:
        UserError: a value is missing, no time, before 1970, or in a finer unit than seconds.
    """
    column = _TIMES[name]
    found = times(as_array(values), column, rows)
    for bad, problem in ((found >= END_OF_TIME, FUTURE.rstrip(".")), (found < 0, "before 1970; give Unix seconds")):
        if bad.any():
            refuse(bad, rows, column, f"holds {found[bad][0]}, {problem}")
    return found


def _converted(series: pd.Series, column: Column, rows: Rows) -> Int64s:
    """A column's values; each text is read once, however often it stands there."""
    values = as_array(series)
    if values.dtype != object:
        return convert(values, column, rows)
    try:
        codes, distinct = pd.factorize(values, use_na_sentinel=False)
        return convert(distinct, column, np.arange(len(distinct)))[codes]
    except (UserError, TypeError):  # the latter of lists, which can't be compared
        return convert(values, column, rows)


def one_request(values: Sequence[Any] | npt.NDArray[Any] | pd.Series, column: Column) -> Int64s:
    """(N) the values of a request's candidates.

    Raises:
        UserError: they are no list, or one is none of the column's.
    """
    array = as_array(values)
    if array.ndim != 1:
        raise UserError(f"{column.name} is no list; give one value a candidate.")
    return convert(array, column, np.arange(len(array)))
