"""How a log spells its ids and names: decided once for a column, over every table that has it.

A whole number has many spellings (`2`, `2.0`, ` 2 `, an integer, a float that pandas made of it for a missing value
beside), so a column of nothing else holds numbers, however its files spell them. Anything else makes text of it: `0012`
and `12` are two names, and two ids.
"""

from dataclasses import dataclass

from pinfm.model.written import EXACT_DOUBLE, FLOAT_OF_INTEGER, INTEGER, LEAST, MOST, MOST_UNSIGNED
from pinfm.train.data.reading.sql import name, trimmed

# Types whose values spell an id or a name; without that of a column without values.
TYPES = (
    *("VARCHAR", "ENUM", "UUID", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    *("UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)
_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
# A float holds every whole number below; of a larger one it may have lost digits.
_EXACT = {"FLOAT": 1 << 24, "DOUBLE": EXACT_DOUBLE}
_PADDED = "0+[0-9]+"


def whole(raw: str, sql_type: str) -> str:
    """SQL of the whole number that a value spells, as HUGEINT from -2**63 to 2**64 - 1; NULL where it spells none.

    Args:
        raw: the column's SQL.
        sql_type: its type.
    """
    if sql_type.startswith(_SIGNED):
        return f"CAST({raw} AS HUGEINT)"
    if sql_type in _EXACT:
        number = f"CASE WHEN {raw} = trunc({raw}) AND abs({raw}) < {_EXACT[sql_type]} THEN CAST({raw} AS HUGEINT) END"
    elif sql_type.startswith("DECIMAL"):
        number = f"CASE WHEN {raw} = trunc({raw}) THEN TRY_CAST({raw} AS HUGEINT) END"
    elif is_text(sql_type):
        text = trimmed(f"CAST({raw} AS VARCHAR)")
        number = (
            f"CASE WHEN regexp_full_match({text}, '{INTEGER}') THEN TRY_CAST({text} AS HUGEINT) "
            f"WHEN regexp_full_match({text}, '{FLOAT_OF_INTEGER}') "
            f"THEN TRY_CAST(split_part({text}, '.', 1) AS HUGEINT) END"
        )
    else:
        number = f"TRY_CAST({raw} AS HUGEINT)"
    return f"(CASE WHEN ({number}) BETWEEN {LEAST} AND {MOST_UNSIGNED} THEN ({number}) END)"


def integer_id(raw: str, sql_type: str) -> str:
    """SQL of an id as BIGINT; NULL where it is none."""
    return f"TRY_CAST({whole(raw, sql_type)} AS BIGINT)"


def unsigned_id(raw: str, sql_type: str) -> str:
    """SQL of an id from 0 to 2**64 - 1 as BIGINT, by two's complement; NULL where it is none."""
    number = whole(raw, sql_type)
    return (
        f"CASE WHEN {number} > {MOST} THEN CAST({number} - {MOST_UNSIGNED + 1}::HUGEINT AS BIGINT) "
        f"WHEN {number} >= 0 THEN CAST({number} AS BIGINT) END"
    )


def text_of_id(raw: str, sql_type: str) -> str:
    """SQL of an id's text, without spaces around it; NULL where there is none."""
    if is_text(sql_type):
        return f"nullif({trimmed(f'CAST({raw} AS VARCHAR)')}, '')"
    return f"CAST({whole(raw, sql_type)} AS VARCHAR)"


def text_id(raw: str, sql_type: str) -> str:
    """SQL of a text id as BIGINT: the first eight bytes of the SHA-1 of its UTF-8, the first one the highest."""
    return f"unhex(left(sha1({text_of_id(raw, sql_type)}), 16))::BIT::BIGINT"


def plain_name(raw: str, sql_type: str) -> str:
    """SQL of a name as it is spelled; of a typed number, its one spelling."""
    return f"CAST({raw} AS VARCHAR)" if is_text(sql_type) else number_name(raw, sql_type)


def number_name(raw: str, sql_type: str) -> str:
    """SQL of a whole number's one spelling; NULL where the value is none."""
    return f"CAST({whole(raw, sql_type)} AS VARCHAR)"


@dataclass(frozen=True)
class Measured:
    """What a column's values are, as numbers.

    Args:
        numbers: values that are whole numbers.
        others: values that are none; a missing one is neither.
        padded: those of the others that are digits after zeros, as numbers never are and text ids often.
        least: of the numbers; 0 where there is none.
        greatest: likewise.
    """

    numbers: int
    others: int
    padded: int
    least: int
    greatest: int


def measured_sql(raw: str, sql_type: str) -> str:
    """SQL of one aggregate for each field of `Measured`."""
    number = whole(raw, sql_type)
    there = f"{raw} IS NOT NULL" + (f" AND NOT isnan({raw})" if sql_type in _EXACT else "")
    text = trimmed(f"CAST({raw} AS VARCHAR)")
    padded = f"regexp_full_match({text}, '{_PADDED}')" if is_text(sql_type) else "false"
    return (
        f"count({number}), count(*) FILTER ({there} AND {number} IS NULL), count(*) FILTER ({padded}), "
        f"coalesce(min({number}), 0), coalesce(max({number}), 0)"
    )


def distinct_sql(relation: str, raw: str, sql_type: str) -> str:
    """SQL of a table of a column's distinct values: `text`, and whether it `is_text` and no number."""
    return (
        f"SELECT DISTINCT {text_of_id(raw, sql_type)} AS text, {whole(raw, sql_type)} IS NULL AS is_text "
        f"FROM {name(relation)}"
    )


def can_spell(sql_type: str) -> bool:
    """Whether a column of this type may hold ids or names."""
    return sql_type.startswith(TYPES) and not sql_type.endswith("]")


def is_text(sql_type: str) -> bool:
    """Whether the values of a type are spelled out."""
    return sql_type.startswith(("VARCHAR", "ENUM", "UUID"))
