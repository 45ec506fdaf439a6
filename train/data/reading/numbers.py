"""Numbers and flags as people write them: a float of a whole number is that number, and NaN is a missing one."""

from pinfm.model.written import EXACT_DOUBLE, FLAGS, WHOLE
from pinfm.train.data.reading.sql import INTEGERS, REALS, trimmed


def whole(raw: str, sql_type: str) -> str:
    """SQL of a whole number as BIGINT; NULL where the value is none, such as 1.5.

    Args:
        raw: the column's SQL.
        sql_type: its type.
    """
    if sql_type.startswith(REALS):
        return f"CASE WHEN {raw} = trunc({raw}) AND abs({raw}) < {EXACT_DOUBLE} THEN TRY_CAST({raw} AS BIGINT) END"
    if sql_type == "VARCHAR":
        # A cast alone would round '1.5' to 2.
        text = trimmed(raw)
        number = f"TRY_CAST(split_part({text}, '.', 1) AS BIGINT)"
        return f"CASE WHEN regexp_full_match({text}, '{WHOLE}') THEN {number} END"
    return f"TRY_CAST({raw} AS BIGINT)"


def code(raw: str, sql_type: str) -> str:
    """SQL of a categorical value as BIGINT; NULL where the value is none. A boolean is 1 or 0."""
    number = whole(raw, sql_type)
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
