"""What a column must hold: its SQL cast, and the checks that each of its values must pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pinfm.embeddings.errors import UserError, require_types
from pinfm.model.written import MOST
from pinfm.train.data.reading import numbers, spelling, times
from pinfm.train.data.reading.sql import INTEGERS, REALS, name, quoted, trimmed
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
_WANTED = {
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
# Kinds of which a float may be NaN where pandas had nothing to put.
_NAN_IS_MISSING = ("text", "number_name", "time", "code")
_ALWAYS_NULLABLE = ("text", "number_name", "code", "vector", "ids")
_TYPES = {"dense": "FLOAT", "number": "DOUBLE"}
_FIRST_SECOND = -62135596800  # of the year 1
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


@dataclass(frozen=True)
class Check:
    """A mistake that a row may hold.

    Args:
        column: the column as the user knows it.
        reason: short name, for counts.
        condition: SQL that is true for a bad row.
        problem: what is wrong; `{value}` stands for the offending value.
        mend: what to do.
        value: SQL of the offending value.
    """

    column: str
    reason: str
    condition: str
    problem: str
    mend: str
    value: str


def typed(column: Column, sql_type: str, file: str) -> str:
    """Returns the SQL that casts a raw column, NULL where it cannot.

    Raises:
        UserError: when no value of this type could be right.
    """
    is_list = sql_type.endswith("]") and column.kind not in ("vector", "ids")
    if is_list or not (sql_type in ("VARCHAR", '"NULL"') or sql_type.startswith(_ACCEPTED[column.kind])):
        raise UserError(
            f"{file}, column {column.file_name}: its type is {sql_type}, but it must be {_WANTED[column.kind]}; "
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


def checks(column: Column, sql: str, now: int, length: int) -> Iterator[Check]:
    """Yields what may be wrong with a value of the column, the gravest first.

    Args:
        column: the column.
        sql: its cast, from `typed`.
        now: Unix seconds; a later time lies in the future.
        length: length of every vector of the column; 0 where there is none.
    """

    def check(reason: str, condition: str, problem: str, mend: str) -> Check:
        raw = name(column.file_name)
        return Check(column.file_name, reason, condition, problem, mend, f"CAST({raw} AS VARCHAR)")

    raw = name(column.file_name)
    if column.kind in ("choice", "number_choice"):
        listed = ", ".join(map(quoted, column.choices))
        # The problem is a template.
        wanted = ", ".join(column.choices).replace("{", "{{").replace("}", "}}")
        yield check(
            "outside vocabulary",
            f"{sql} IS NULL OR {sql} NOT IN ({listed})",
            f"{{value}} is not one of {wanted}",
            "correct it or name it among the actions",
        )
        return
    if column.kind == "text_of_id":
        return  # its text_id is checked
    if column.form:
        wanted, pattern = column.form
        bad = f"{raw} IS NOT NULL AND NOT regexp_full_match({sql}, {quoted(pattern)})"
        yield check("wrong form", bad, f"{{value}} is not {wanted}", "correct it")
    there = f"{raw} IS NOT NULL"
    if column.kind in _NAN_IS_MISSING:
        there += f" AND lower({trimmed(f'CAST({raw} AS VARCHAR)')}) <> 'nan'"
    if column.kind == "vector":
        there += f" AND CAST({raw} AS VARCHAR) <> '[]'"
    if not column.nullable and column.kind not in _ALWAYS_NULLABLE:
        yield check("null", f"NOT ({there})", "the value is missing", "fill it in")
    if column.kind == "id":
        large = f"TRY_CAST(CAST({raw} AS VARCHAR) AS HUGEINT) > {MOST}"
        mend = "give ids of 64 bits, all of them signed or all unsigned"
        yield check("too large", large, "{value} is above 2**63 - 1", mend)
    wrong = f"{{value}} is not {_WANTED[column.kind]}"
    as_text = ", or say with --text-ids that the column holds text" if _may_be_text(column) else ""
    yield check("wrong type", f"{there} AND {sql} IS NULL", wrong, f"correct it{as_text}")
    if column.kind == "count":
        yield check("negative", f"{sql} < 0", "{value} is negative", "correct it")
    if column.kind == "milliseconds":
        yield check("negative", f"{sql} < 0", "{value} is negative", "give Unix milliseconds")
        yield check("future", f"{sql} > {now * 1000}", "{value} lies in the future", "give Unix milliseconds")
    if isinstance(column, TimeColumn):
        if not column.before_1970:
            yield check("negative", f"{sql} < 0", "{value} is negative", "give Unix seconds")
        # A difference of two times must fit into 64 bits.
        yield check("too early", f"{sql} < {_FIRST_SECOND}", "{value} lies before the year 1", "give Unix seconds")
        dated = f"{sql} > {now} AND {times.is_date(f'CAST({raw} AS VARCHAR)', '%Y%m%d%H%M%S')}"
        mend = "give --time-unit date"
        yield check("a date", dated, "{value} is a date written as a number and no Unix seconds", mend)
        mend = "give Unix seconds (divide milliseconds by 1000), or say --time-unit milliseconds"
        yield check("future", f"{sql} > {now}", "{value} lies in the future", mend)
    if column.kind == "ids":
        yield check("null", f"list_count({sql}) < len({sql})", "the list holds a missing id", "fill it in")
    if column.kind in ("dense", "number"):
        yield check("not finite", f"NOT isfinite({sql})", "{value} is not a finite number", "correct it")
    if column.kind == "vector":
        bad = f"list_count({sql}) < len({sql}) OR len(list_filter({sql}, lambda x: NOT isfinite(x))) > 0"
        yield check("not finite", bad, "the vector holds a missing or infinite number", "correct it")
        problem = f"the vector's length is not {length}, that of most"
        if isinstance(column, VectorColumn) and column.length is not None:
            problem = f"the vector's length is not {length}, as --content-dim says"
        yield check("wrong length", f"len({sql}) <> {length}", problem, "give all items vectors of one length")


def _may_be_text(column: Column) -> bool:
    return isinstance(column, IdColumn) and column.may_be_text
