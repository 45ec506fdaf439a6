"""Numbers and flags as people write them: a float of a whole number is that number, and NaN is a missing one."""

from pinfm.model.written import DECIMAL, EXACT_DOUBLE, FLAGS, FLOAT_OF_INTEGER, INTEGER, LEAST, MOST_UNSIGNED, WHOLE
from pinfm.train.data.reading.sql import INTEGERS, REALS, is_text, trimmed

_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
# A float holds every whole number below; of a larger one it may have lost digits. Every other type is exact.
_EXACT_BELOW = {"FLOAT": 1 << 24, "DOUBLE": EXACT_DOUBLE}


def whole(raw: str, sql_type: str, lenient: bool = False) -> str:
    """SQL of the whole number that a value is, as HUGEINT from -2**63 to 2**64 - 1; NULL where it is none, such as 1.5.

    Args:
        raw: the column's SQL.
        sql_type: its type.
        lenient: whether a text may also spell it as people do and no id is: `+7`, `07`, `7.0` of any number of digits.
    """
    if sql_type.startswith(_SIGNED):
        return f"CAST({raw} AS HUGEINT)"
    if sql_type in _EXACT_BELOW:
        exact = f"{raw} = trunc({raw}) AND abs({raw}) < {_EXACT_BELOW[sql_type]}"
        number = f"CASE WHEN {exact} THEN CAST({raw} AS HUGEINT) END"
    elif sql_type.startswith("DECIMAL"):
        number = f"CASE WHEN {raw} = trunc({raw}) THEN TRY_CAST({raw} AS HUGEINT) END"
    elif is_text(sql_type):
        text = trimmed(f"CAST({raw} AS VARCHAR)")
        forms = (WHOLE,) if lenient else (INTEGER, FLOAT_OF_INTEGER)
        fits = " OR ".join(f"regexp_full_match({text}, '{form}')" for form in forms)
        # A cast alone would round '1.5' to 2.
        number = f"CASE WHEN {fits} THEN TRY_CAST(split_part({text}, '.', 1) AS HUGEINT) END"
    else:
        number = f"TRY_CAST({raw} AS HUGEINT)"
    return f"(CASE WHEN ({number}) BETWEEN {LEAST} AND {MOST_UNSIGNED} THEN ({number}) END)"


def integer(raw: str, sql_type: str, lenient: bool = False) -> str:
    """SQL of a whole number as BIGINT, see `whole`; NULL where the value is none."""
    if sql_type.startswith(_SIGNED):
        return f"CAST({raw} AS BIGINT)"
    return f"TRY_CAST({whole(raw, sql_type, lenient)} AS BIGINT)"


def floor(raw: str, sql_type: str) -> str:
    """SQL of a number rounded down, as BIGINT; NULL where the value is none, or a float that may have lost digits."""
    if sql_type in _EXACT_BELOW:
        return f"CASE WHEN abs({raw}) < {_EXACT_BELOW[sql_type]} THEN TRY_CAST(floor({raw}) AS BIGINT) END"
    if sql_type.startswith("DECIMAL"):
        return f"TRY_CAST(floor({raw}) AS BIGINT)"
    if not is_text(sql_type):
        return integer(raw, sql_type)
    text = trimmed(f"CAST({raw} AS VARCHAR)")
    number = f"TRY_CAST(split_part({text}, '.', 1) AS BIGINT)"
    below = f"starts_with({text}, '-') AND regexp_matches(split_part({text}, '.', 2), '[1-9]')"
    return (
        f"CASE WHEN NOT regexp_full_match({text}, '{DECIMAL}') THEN NULL WHEN {below} THEN TRY({number} - 1) "
        f"ELSE {number} END"
    )


def code(raw: str, sql_type: str) -> str:
    """SQL of a categorical value as BIGINT; NULL where the value is none. A boolean is 1 or 0."""
    number = integer(raw, sql_type, lenient=True)
    return f"coalesce({number}, {_of_boolean(raw)})" if sql_type == "VARCHAR" else number


def flag(raw: str, sql_type: str) -> str:
    """SQL of a BOOLEAN; NULL where the value is none. Numbers are 1 and 0, 1.0 and 0.0 among them."""
    if sql_type.startswith((*INTEGERS, *REALS)):
        return f"CASE WHEN {raw} IN (0, 1) THEN {raw} = 1 END"
    if sql_type == "VARCHAR":
        text = trimmed(raw)
        number = f"CASE WHEN regexp_full_match({text}, '[01][.]0*') THEN left({text}, 1) = '1' END"
        return f"coalesce({number}, TRY_CAST({text} AS BOOLEAN))"
    return f"TRY_CAST({raw} AS BOOLEAN)"


def real(raw: str, sql_type: str, wanted: str) -> str:
    """SQL of a number of the type `wanted`; NULL where the value is none. A boolean is 1 or 0."""
    if sql_type == "BOOLEAN":
        return f"CAST(CAST({raw} AS INTEGER) AS {wanted})"
    if sql_type == "VARCHAR":
        # DuckDB's own casts take 1_000 for a number.
        number = f"CASE WHEN NOT contains({raw}, '_') THEN TRY_CAST({raw} AS {wanted}) END"
        return f"coalesce({number}, CAST({_of_boolean(raw)} AS {wanted}))"
    return f"TRY_CAST({raw} AS {wanted})"


def _of_boolean(raw: str) -> str:
    cases = " ".join(f"WHEN '{text}' THEN {number}" for text, number in FLAGS.items())
    return f"(CASE lower({trimmed(raw)}) {cases} END)"
