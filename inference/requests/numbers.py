"""Numbers and times of requests -> integers, read as `prepare` reads those of a log (docs/data.md)."""

import re
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from pinfm.inference.requests.ids import integer_of, whole_number
from pinfm.model.written import DECIMAL, FLAGS, LEAST, MOST, WHOLE, day_seconds, iso_seconds


def category(value: Any) -> int | None:
    """The int64 of a category; None where the value is none. 0 is a missing one, a flag 1 or 0."""
    if isinstance(value, str):
        if value == "" or value.lower() == "nan":
            return 0
        flag = FLAGS.get(value.strip(" ").lower())
        if flag is not None:
            return flag
    return _whole(value)


def seconds(value: Any) -> int | None:
    """The Unix seconds of a time, rounded down; None where the value is none.

    Args:
        value: seconds, a typed time or ISO text; of UTC where it names no zone.
    """
    number = _floored(value)
    if number is not None:
        return number
    if isinstance(value, str):
        return iso_seconds(value)
    if not isinstance(value, date) or pd.isna(value):
        return None
    if not isinstance(value, datetime):
        return day_seconds(value)
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() // 1)


def _whole(value: Any) -> int | None:
    """A whole number as int64; text may have zeros or a plus before it."""
    if isinstance(value, str):
        text = value.strip(" ")
        number = integer_of(text.partition(".")[0]) if re.fullmatch(WHOLE, text) else None
    else:
        number = whole_number(value)
    return number if number is not None and LEAST <= number <= MOST else None


def _floored(value: Any) -> int | None:
    """A number rounded down to an int64."""
    if not isinstance(value, str):
        try:
            return _whole(value // 1)
        except (TypeError, ArithmeticError):
            return None
    text = value.strip(" ")
    whole, _, fraction = text.partition(".")
    number = _whole(whole) if re.fullmatch(DECIMAL, text) else None
    return number - 1 if number is not None and text.startswith("-") and fraction.strip("0") else number
