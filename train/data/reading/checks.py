"""What may be wrong with the values of a column, as SQL: each check that a row must pass, the gravest first."""

from collections.abc import Iterator
from dataclasses import dataclass

from pinfm.model.written import MOST
from pinfm.train.data.reading import times
from pinfm.train.data.reading.columns import WANTED, Column, IdColumn, TimeColumn, VectorColumn
from pinfm.train.data.reading.sql import name, quoted, trimmed

# Kinds of which a float may be NaN where pandas had nothing to put.
_NAN_IS_MISSING = ("text", "number_name", "time", "code")
_ALWAYS_NULLABLE = ("text", "number_name", "code", "vector", "ids")
_FIRST_SECOND = -62135596800  # of the year 1


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


def checks(column: Column, sql: str, now: int, length: int) -> Iterator[Check]:
    """Yields what may be wrong with a value of the column, the gravest first.

    Args:
        column: the column.
        sql: its cast, from `typed`.
        now: Unix seconds; a later time lies in the future.
        length: length of every vector of the column; 0 where there is none.
    """
    if column.kind in ("choice", "number_choice"):
        yield _outside_vocabulary(column, sql)
    elif column.kind != "text_of_id":  # whose text_id is checked
        yield from _there_and_typed(column, sql)
        if isinstance(column, TimeColumn):
            yield from _of_time(column, sql, now)
        else:
            yield from _of_number(column, sql, now)
        yield from _of_list(column, sql, length)


def _check(column: Column, reason: str, condition: str, problem: str, mend: str) -> Check:
    return Check(column.file_name, reason, condition, problem, mend, f"CAST({name(column.file_name)} AS VARCHAR)")


def _outside_vocabulary(column: Column, sql: str) -> Check:
    listed = ", ".join(map(quoted, column.choices))
    # The problem is a template.
    wanted = ", ".join(column.choices).replace("{", "{{").replace("}", "}}")
    return _check(
        column,
        "outside vocabulary",
        f"{sql} IS NULL OR {sql} NOT IN ({listed})",
        f"{{value}} is not one of {wanted}",
        "correct it or name it among the actions",
    )


def _there_and_typed(column: Column, sql: str) -> Iterator[Check]:
    raw = name(column.file_name)
    if column.form:
        wanted, pattern = column.form
        bad = f"{raw} IS NOT NULL AND NOT regexp_full_match({sql}, {quoted(pattern)})"
        yield _check(column, "wrong form", bad, f"{{value}} is not {wanted}", "correct it")
    there = f"{raw} IS NOT NULL"
    if column.kind in _NAN_IS_MISSING:
        there += f" AND lower({trimmed(f'CAST({raw} AS VARCHAR)')}) <> 'nan'"
    if column.kind == "vector":
        there += f" AND CAST({raw} AS VARCHAR) <> '[]'"
    if not column.nullable and column.kind not in _ALWAYS_NULLABLE:
        yield _check(column, "null", f"NOT ({there})", "the value is missing", "fill it in")
    if column.kind == "id":
        large = f"TRY_CAST(CAST({raw} AS VARCHAR) AS HUGEINT) > {MOST}"
        mend = "give ids of 64 bits, all of them signed or all unsigned"
        yield _check(column, "too large", large, "{value} is above 2**63 - 1", mend)
    as_text = isinstance(column, IdColumn) and column.may_be_text
    mend = "correct it" + ", or say with --text-ids that the column holds text" * as_text
    wrong = f"{{value}} is not {WANTED[column.kind]}"
    yield _check(column, "wrong type", f"{there} AND {sql} IS NULL", wrong, mend)


def _of_number(column: Column, sql: str, now: int) -> Iterator[Check]:
    if column.kind == "count":
        yield _check(column, "negative", f"{sql} < 0", "{value} is negative", "correct it")
    if column.kind == "milliseconds":
        yield _check(column, "negative", f"{sql} < 0", "{value} is negative", "give Unix milliseconds")
        yield _check(column, "future", f"{sql} > {now * 1000}", "{value} lies in the future", "give Unix milliseconds")
    if column.kind in ("dense", "number"):
        yield _check(column, "not finite", f"NOT isfinite({sql})", "{value} is not a finite number", "correct it")


def _of_time(column: TimeColumn, sql: str, now: int) -> Iterator[Check]:
    if not column.before_1970:
        yield _check(column, "negative", f"{sql} < 0", "{value} is negative", "give Unix seconds")
    # A difference of two times must fit into 64 bits.
    early = "{value} lies before the year 1"
    yield _check(column, "too early", f"{sql} < {_FIRST_SECOND}", early, "give Unix seconds")
    text = f"CAST({name(column.file_name)} AS VARCHAR)"
    dated = f"{sql} > {now} AND {times.is_date(text, '%Y%m%d%H%M%S')}"
    problem = "{value} is a date written as a number and no Unix seconds"
    yield _check(column, "a date", dated, problem, "give --time-unit date")
    mend = "give Unix seconds (divide milliseconds by 1000), or say --time-unit milliseconds"
    yield _check(column, "future", f"{sql} > {now}", "{value} lies in the future", mend)


def _of_list(column: Column, sql: str, length: int) -> Iterator[Check]:
    holed = f"list_count({sql}) < len({sql})"
    if column.kind == "ids":
        yield _check(column, "null", holed, "the list holds a missing id", "fill it in")
    if column.kind == "vector":
        bad = f"{holed} OR len(list_filter({sql}, lambda x: NOT isfinite(x))) > 0"
        yield _check(column, "not finite", bad, "the vector holds a missing or infinite number", "correct it")
        declared = isinstance(column, VectorColumn) and column.length is not None
        problem = f"the vector's length is not {length}, {'as --content-dim says' if declared else 'that of most'}"
        yield _check(column, "wrong length", f"len({sql}) <> {length}", problem, "give all items vectors of one length")
