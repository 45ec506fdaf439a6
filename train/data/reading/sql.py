"""Names and texts as SQL, and the columns that each table has beside its own."""

# Columns that `read_table` adds; the underscores keep them apart from the user's own.
FILE, ROW, POSITION = "__file", "__row", "__position"

# SQL types of whole and of other numbers.
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT")
REALS = ("FLOAT", "DOUBLE", "DECIMAL")


def quoted(text: object) -> str:
    """Returns the text as an SQL string."""
    return "'" + str(text).replace("'", "''") + "'"


def name(identifier: str) -> str:
    """Returns the identifier quoted for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def trimmed(text: str) -> str:
    """SQL of a text without the spaces around it: U+0020 alone, as every host of a model strips it."""
    return f"trim({text}, ' ')"  # without a second argument DuckDB's trim takes all of Unicode's spaces


def is_text(sql_type: str) -> bool:
    """Whether the values of a type are spelled out."""
    return sql_type.startswith(("VARCHAR", "ENUM", "UUID"))
