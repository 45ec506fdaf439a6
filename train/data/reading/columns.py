"""What a column must hold, and the SQL that casts it."""

from dataclasses import dataclass
from typing import Literal

from pinfm.embeddings.errors import UserError, require_types
from pinfm.train.data.reading import numbers, spelling, times
from pinfm.train.data.reading.sql import INTEGERS, REALS, name
from pinfm.train.data.reading.times import TimeUnit

Kind = Literal[
    "id",
    "unsigned_id",
    "text_id",
    "text_of_id",
    "time",
    "milliseconds",
    "code",
    "count",
    "flag",
    "dense",
    "number",
    "text",
    "number_name",
    "choice",
    "number_choice",
    "vector",
    "ids",
]

# The text of an id is staged beside its hash, under the id's name after this.
TEXT_OF = "__text_of_"

_NUMBERS = (*INTEGERS, *REALS)
# SQL types a column of each kind may have in a typed file; VARCHAR is parsed value by value.
_ACCEPTED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("id", "unsigned_id", "text_id", "text_of_id"), spelling.TYPES),
    **dict.fromkeys(("text", "number_name", "choice", "number_choice"), spelling.TYPES),
    "time": (*times.TYPED, *_NUMBERS),
    **dict.fromkeys(("count", "milliseconds"), _NUMBERS),
    **dict.fromkeys(("code", "flag", "dense", "number"), (*_NUMBERS, "BOOLEAN")),
    "vector": ("FLOAT[", "DOUBLE[", "DECIMAL", *(f"{integer}[" for integer in INTEGERS)),
    "ids": tuple(f"{integer}[" for integer in INTEGERS),
}
WANTED = {
    "id": "an integer",
    "unsigned_id": "an integer from 0 to 2**64 - 1",
    **dict.fromkeys(("text_id", "text_of_id"), "a text or an integer"),
    "time": "a time (Unix seconds, a timestamp, or ISO text such as 2023-11-14T22:13:20Z)",
    "code": "an integer",
    "count": "an integer",
    "milliseconds": "Unix milliseconds as an integer",
    "flag": "a boolean (true, false, 1 or 0)",
    "dense": "a number",
    "number": "a number",
    **dict.fromkeys(("text", "choice"), "a name or a whole number"),
    **dict.fromkeys(("number_name", "number_choice"), "a whole number"),
    "vector": "a list of numbers",
    "ids": "a list of integers with single spaces between them",
}
_SPELLING = {
    "id": numbers.integer,
    "unsigned_id": spelling.unsigned_id,
    "text_id": spelling.text_id,
    "text_of_id": spelling.text_of_id,
    **dict.fromkeys(("text", "choice"), spelling.plain_name),
    **dict.fromkeys(("number_name", "number_choice"), spelling.number_name),
}
_WHOLE = ("count", "milliseconds")
_TYPES = {"dense": "FLOAT", "number": "DOUBLE"}
_INTEGER_TEXT = r"[+-]?[0-9]+"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: its name in the staged table.
        kind: `id` (int64, never null, see `IdColumn`), `unsigned_id` (from 0 to 2**64 - 1, as int64 by two's
            complement), `text_id` (a text, as its hash), `text_of_id` (the text itself), `time` (Unix seconds, see
            `TimeColumn`), `milliseconds` (Unix milliseconds, never negative or future), `count` (int64, never
            negative), `code` (int64, null becomes 0), `flag` (boolean), `dense` (finite float32), `number` (finite
            float64), `text`, `number_name` (a whole number in its one spelling), `choice` and `number_choice` (such a
            one of `choices`), `vector` (list of finite float32, see `VectorColumn`) or `ids` (list of int64; in text
            files with spaces between them).
        raw: its name in the file; the same name when None.
        choices: the values that a `choice` may take.
        form: what every value of a `text` is, and the regular expression that says so; None for any text.
        nullable: whether a missing value is in order (text, number_name, code, vector and ids are always nullable).
    """

    name: str
    kind: Kind
    raw: str | None = None
    choices: tuple[str, ...] = ()
    form: tuple[str, str] | None = None
    nullable: bool = False

    def __post_init__(self) -> None:
        require_types("column", self)

    @property
    def file_name(self) -> str:
        """The name that the user knows."""
        return self.raw or self.name


@dataclass(frozen=True)
class IdColumn(Column):
    """A column of kind `id`.

    Args:
        may_be_text: whether a flag may say that it holds text.
    """

    may_be_text: bool = False


@dataclass(frozen=True)
class TimeColumn(Column):
    """A column of kind `time`; never in the future.

    Args:
        unit: what a number counts; None takes seconds, and doubts them where they look like something else.
        before_1970: whether a time before 1970 is in order.
    """

    unit: TimeUnit | None = None
    before_1970: bool = False


@dataclass(frozen=True)
class VectorColumn(Column):
    """A column of kind `vector`, whose values have one length; an empty one is a missing one.

    Args:
        length: the length; None takes that of most values.
    """

    length: int | None = None


def typed(column: Column, sql_type: str, file: str) -> str:
    """Returns the SQL that casts a raw column, NULL where it cannot.

    Raises:
        UserError: when no value of this type could be right.
    """
    is_list = sql_type.endswith("]") and column.kind not in ("vector", "ids")
    if is_list or not (sql_type in ("VARCHAR", '"NULL"') or sql_type.startswith(_ACCEPTED[column.kind])):
        raise UserError(
            f"{file}, column {column.file_name}: its type is {sql_type}, but it must be {WANTED[column.kind]}; "
            "cast the column"
        )
    raw = name(column.file_name)
    if column.kind in _SPELLING:
        return _SPELLING[column.kind](raw, sql_type)
    if isinstance(column, TimeColumn):
        return times.seconds(raw, sql_type, column.unit or "seconds")
    if column.kind in _WHOLE:
        return numbers.integer(raw, sql_type, lenient=True)
    if column.kind == "code":
        return numbers.code(raw, sql_type)
    if column.kind == "flag":
        return numbers.flag(raw, sql_type)
    if column.kind == "ids":
        if sql_type != "VARCHAR":
            return f"TRY_CAST({raw} AS BIGINT[])"
        # A cast alone would round 1.5, and read what is no integer as a missing one.
        listed = (
            f"CASE WHEN regexp_full_match({raw}, '{_INTEGER_TEXT}( {_INTEGER_TEXT})*') THEN str_split({raw}, ' ') END"
        )
        return f"CASE WHEN {raw} = '' THEN []::BIGINT[] ELSE TRY_CAST({listed} AS BIGINT[]) END"
    if column.kind == "vector":
        return f"nullif(TRY_CAST({raw} AS FLOAT[]), [])"
    return numbers.real(raw, sql_type, _TYPES[column.kind])
