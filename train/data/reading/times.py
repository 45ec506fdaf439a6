"""Times as people write them: Unix seconds or other units, dates as whole numbers, ISO text, typed timestamps."""

from typing import Literal

from pinfm.model.written import ISO_TIME
from pinfm.train.data.reading import numbers
from pinfm.train.data.reading.sql import trimmed

TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "date"]
_PER_SECOND = {"seconds": 1, "milliseconds": 1000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}
TYPED = ("TIMESTAMP", "DATE")
DAY, SECOND_OF_DAY = "[0-9]{8}", "[0-9]{14}"


def seconds(raw: str, sql_type: str, unit: TimeUnit) -> str:
    """SQL of a time as BIGINT Unix seconds, rounded down; NULL where the value is no time.

    Args:
        raw: the column's SQL.
        sql_type: its type.
        unit: what a number counts; a typed timestamp and ISO text have no doubtful unit.
    """
    if sql_type.startswith(TYPED):
        # DuckDB has no epoch of nanoseconds with a zone.
        has_zone = "TIME ZONE" in sql_type or "TZ" in sql_type
        return _of_timestamp(f"TRY_CAST({raw} AS {'TIMESTAMPTZ' if has_zone else 'TIMESTAMP'})")
    number = numbers.integer(raw, sql_type, lenient=True) if unit == "date" else numbers.floor(raw, sql_type)
    number = _of_number(f"({number})", unit)
    if sql_type != "VARCHAR":
        return number
    text = trimmed(raw)
    # DuckDB reads a zone as +hh:mm only, and a fraction after a point.
    zoned = rf"regexp_replace(replace({text}, ',', '.'), ' ?(?:UTC|([+-]\d\d):?(\d\d))$', '\1:\2')"
    iso = f"TRY_CAST(regexp_replace({zoned}, ':$', 'Z') AS TIMESTAMPTZ)"
    return f"coalesce({number}, CASE WHEN regexp_full_match({text}, '{ISO_TIME}') THEN {_of_timestamp(iso)} END)"


def _of_number(number: str, unit: TimeUnit) -> str:
    if unit == "date":
        text = f"CAST({number} AS VARCHAR)"
        formatted = (
            f"CASE WHEN regexp_full_match({text}, '{DAY}') THEN TRY_STRPTIME({text}, '%Y%m%d') "
            f"WHEN regexp_full_match({text}, '{SECOND_OF_DAY}') THEN TRY_STRPTIME({text}, '%Y%m%d%H%M%S') END"
        )
        return _of_timestamp(f"({formatted})")
    return number if unit == "seconds" else _floored(number, _PER_SECOND[unit])


def _of_timestamp(timestamp: str) -> str:
    return f"CASE WHEN isfinite({timestamp}) THEN {_floored(f'epoch_us({timestamp})', 1_000_000)} END"


def _floored(number: str, divisor: int) -> str:
    """Division that rounds down, before 1970 too, and in whole numbers; none is too large for it."""
    return f"(({number}) // {divisor} - CASE WHEN ({number}) % {divisor} < 0 THEN 1 ELSE 0 END)"


def is_date(number: str, form: Literal["%Y%m%d", "%Y%m%d%H%M%S"]) -> str:
    """SQL of whether a whole number is a date of this form, between 1900 and 2100."""
    digits = {"%Y%m%d": DAY, "%Y%m%d%H%M%S": SECOND_OF_DAY}[form]
    text = f"CAST({number} AS VARCHAR)"
    return (
        f"(regexp_full_match({text}, '(19|20)[0-9]*') AND regexp_full_match({text}, '{digits}') AND "
        f"TRY_STRPTIME({text}, '{form}') IS NOT NULL)"
    )
