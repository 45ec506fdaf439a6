"""How numbers and times are written: read alike where a log is prepared, in SQL, and where a model is served.

The patterns are for texts without spaces around them, and mean the same to Python's `re` and DuckDB's RE2.
"""

import re
from datetime import date

# An id or the name of a number has no zeros or plus before it: `0012` and `12` are two text ids.
INTEGER = "-?(0|[1-9][0-9]*)"
# What a float that is a whole number is written as; 15 digits lie below 2**53.
FLOAT_OF_INTEGER = "-?(0|[1-9][0-9]{0,14})[.]0*"
# A float64 holds every whole number below; of a larger one it may have lost digits.
EXACT_DOUBLE = 1 << 53
LEAST, MOST, MOST_UNSIGNED = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1

# Any other whole number, such as a category or Unix seconds; a flag is one too. As a pattern, what a cast alone would
# round is none of it.
WHOLE = "[+-]?[0-9]+([.]0*)?"
# Seconds, of which a fraction is rounded down.
DECIMAL = "[+-]?[0-9]+([.][0-9]*)?"
FLAGS = {"true": 1, "false": 0}
# A day, or a day and a time, perhaps with a fraction and a zone; without one it is UTC, and 24:00 ends a day.
ISO_TIME = (
    "(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    "([ T](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(:(?P<second>[0-9]{2})([.,](?P<fraction>[0-9]+))?)?"
    "(Z| ?UTC|(?P<zone>[+-][0-9]{2}| ?[+-][0-9]{2}:?[0-9]{2}))?)?"
)
# Of lengths of time, the longest first.
UNIT_SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_DAY = UNIT_SECONDS["d"]
_EPOCH = date(1970, 1, 1).toordinal()


def iso_seconds(text: str) -> int | None:
    """The Unix seconds of a text like `ISO_TIME`, rounded down; None where it is none, or no day or time has it."""
    found = re.fullmatch(ISO_TIME, text.strip(" "))
    if found is None:
        return None
    try:
        day = date(*(int(found[part]) for part in ("year", "month", "day")))
    except ValueError:
        return None
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    within = (hour * 60 + minute) * 60 + second
    ends_day = within == _DAY and not int(found["fraction"] or 0)
    if minute > 59 or second > 59 or (hour > 23 and not ends_day):
        return None
    zone = re.sub("[ :]", "", found["zone"] or "+00").ljust(5, "0")
    east = (int(zone[1:3]) * 60 + int(zone[3:])) * 60
    return day_seconds(day) + within - (east if zone[0] == "+" else -east)


def day_seconds(day: date) -> int:
    """The Unix seconds of a day's first moment."""
    return (day.toordinal() - _EPOCH) * _DAY


def length_seconds(text: str) -> int | None:
    """The seconds of a length of time such as `45s`, `30min`, `6h` or `7d`; None where it is none."""
    found = re.fullmatch("([1-9][0-9]{0,7})(d|h|min|s)", text)
    return None if found is None else int(found[1]) * UNIT_SECONDS[found[2]]
