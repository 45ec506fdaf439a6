"""Ids as a log writes them -> the int64 that the model knows, the same in every host (docs/data.md)."""

import hashlib
import re
from typing import Any

from pinfm.model.schema import IdType
from pinfm.model.written import EXACT_DOUBLE, FLOAT_OF_INTEGER, INTEGER, LEAST, MOST, MOST_UNSIGNED

# Of a text with more, int() might say that it is too long; no id has as many.
MOST_DIGITS = 640


def text_id(text: str) -> int:
    """The int64 of a text id: the first eight bytes of its SHA-1, without the spaces around it.

    Example:
        >>> text_id("B00X")
        -6912554557872310600
    """
    digest = hashlib.sha1(text.strip(" ").encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def whole_number(value: Any) -> int | None:
    """The whole number that a value is or spells; None where it is none."""
    if isinstance(value, str):
        text = value.strip(" ")
        return integer_of(text.partition(".")[0]) if re.fullmatch(f"{INTEGER}|{FLOAT_OF_INTEGER}", text) else None
    try:
        exact = int(value) if value == value // 1 else None
    except (TypeError, ValueError, ArithmeticError):
        return None
    # Of a larger float, digits were lost.
    return None if exact is None or (isinstance(value, float) and abs(value) >= EXACT_DOUBLE) else exact


def integer_of(digits: str) -> int | None:
    """The integer of its digits, None where they are too many to be any of ours."""
    return int(digits) if len(digits) <= MOST_DIGITS else None


def int64_of(value: Any, ids: IdType) -> int | None:
    """The int64 of an id that the log writes so; None where the value is no such id."""
    if ids == "text":
        text = str(value) if isinstance(value, str) or type(value).__name__ == "UUID" else ""
        return text_id(text) if text.strip(" ") else None
    if ids == "uint64":
        number = whole_number(value)
        in_range = number is not None and 0 <= number <= MOST_UNSIGNED
        return (number - (1 << 64) if number > MOST else number) if in_range else None  # type: ignore[operator]
    return integer_id(value)


def integer_id(value: Any) -> int | None:
    """The int64 of an id that is one; None where the value is none."""
    number = whole_number(value)
    return number if number is not None and LEAST <= number <= MOST else None
