"""Ids as a log writes them -> the int64 that the model knows, the same in every host (docs/data.md)."""

import hashlib
import re
from typing import Any

from pinfm.model.schema import IdType
from pinfm.model.written import EXACT_DOUBLE, FLOAT_OF_INTEGER, INTEGER, LEAST, MOST, MOST_UNSIGNED

WHOLE = re.compile(f"{INTEGER}|{FLOAT_OF_INTEGER}")


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
        return int(text.partition(".")[0]) if WHOLE.fullmatch(text) else None
    try:
        exact = int(value) if value == value // 1 else None
    except (TypeError, ValueError, ArithmeticError):
        return None
    # Of a larger float, digits were lost.
    return None if exact is None or (isinstance(value, float) and abs(value) >= EXACT_DOUBLE) else exact


def int64_of(value: Any, ids: IdType) -> int | None:
    """The int64 of an id that the log writes so; None where the value is no such id."""
    if ids == "text":
        text = str(value) if isinstance(value, str) or type(value).__name__ == "UUID" else ""
        return text_id(text) if text.strip(" ") else None
    number = whole_number(value)
    if ids == "uint64":
        in_range = number is not None and 0 <= number <= MOST_UNSIGNED
        return (number - (1 << 64) if number > MOST else number) if in_range else None  # type: ignore[operator]
    return number if number is not None and LEAST <= number <= MOST else None
