"""How a log spells its ids and names: decided once for a column, over every table that has it.

A whole number has many spellings (`2`, `2.0`, ` 2 `, an integer, a float that pandas made of it for a missing value
beside), so a column of nothing else holds numbers, however its files spell them. Anything else makes text of it: `0012`
and `12` are two names, and two ids.
"""

from dataclasses import dataclass

from pinfm.model.written import MOST, MOST_UNSIGNED
from pinfm.train.data.reading.numbers import whole
from pinfm.train.data.reading.sql import is_text, name, trimmed

# Types whose values spell an id or a name; without that of a column without values.
TYPES = (
    *("VARCHAR", "ENUM", "UUID", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    *("UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)
_PADDED = "0+[0-9]+"


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
    # pandas writes NaN for a missing value, as text too where a column's type differs from file to file.
    there = f"{raw} IS NOT NULL AND lower({trimmed(f'CAST({raw} AS VARCHAR)')}) <> 'nan'"
    padded = is_padded(raw) if is_text(sql_type) else "false"
    return (
        f"count({number}), count(*) FILTER ({there} AND {number} IS NULL), count(*) FILTER ({padded}), "
        f"coalesce(min({number}), 0), coalesce(max({number}), 0)"
    )


def is_padded(raw: str) -> str:
    """SQL of whether a text is digits after zeros."""
    return f"regexp_full_match({trimmed(f'CAST({raw} AS VARCHAR)')}, '{_PADDED}')"


def distinct_sql(relation: str, raw: str, sql_type: str) -> str:
    """SQL of a table of a column's distinct values: `text`, and whether it `is_text` and no number."""
    return (
        f"SELECT DISTINCT {text_of_id(raw, sql_type)} AS text, {whole(raw, sql_type)} IS NULL AS is_text "
        f"FROM {name(relation)}"
    )


def can_spell(sql_type: str) -> bool:
    """Whether a column of this type may hold ids or names."""
    return sql_type.startswith(TYPES) and not sql_type.endswith("]")
