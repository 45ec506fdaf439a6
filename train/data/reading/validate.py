"""Raw rows -> staged tables of typed, checked rows; every row that is dropped is counted and kept aside."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading.checks import Check, checks
from pinfm.train.data.reading.columns import TEXT_OF, Column, TimeColumn, VectorColumn, typed
from pinfm.train.data.reading.readers import UNREADABLE, Table, read_table, unreadable
from pinfm.train.data.reading.sql import FILE, POSITION, ROW, name, quoted
from pinfm.train.data.reading.text.layout import CSV, Layout
from pinfm.train.data.reading.times import is_date

_THIS_CENTURY = 978307200  # 2001-01-01


class Validator:
    """Stages tables in a DuckDB database, and stops at bad rows or sets them aside.

    Args:
        connection: the database, see `readers.connect`.
        work: a folder for temporary files.
        on_bad_rows: `fail` raises at the first bad row; `skip` moves bad rows to the table `rejects`.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, work: Path, on_bad_rows: Literal["fail", "skip"] = "fail"
    ):
        self.connection = connection
        self.work = work
        self.on_bad_rows = on_bad_rows
        self.rejected: dict[str, int] = {}
        self._now = int(time.time())
        self.notes: list[str] = []
        self._tables: dict[str, Table] = {}
        self._relations: dict[str, str] = {}  # what a staged table was read from
        connection.execute(
            'CREATE TABLE IF NOT EXISTS rejects ("table" VARCHAR, file VARCHAR, "row" BIGINT, '
            '"column" VARCHAR, reason VARCHAR, value VARCHAR)'
        )

    def read(self, view: str, path: Path, layout: Layout = CSV, wanted: Collection[str] | None = None) -> Table:
        """Creates a view over the files of a path, see `readers.read_table`."""
        table = read_table(self.connection, view, path, self.work, layout, wanted)
        self._tables[view] = table
        self._require_whole_fields(table, wanted)
        return table

    def fill(self, view: str, columns: Mapping[str, str]) -> None:
        """Adds columns that its files lack to a view that was read; each is given as SQL."""
        if not columns:
            return
        added = ", ".join(f"{sql} AS {name(column)}" for column, sql in columns.items())
        self.connection.execute(
            f"ALTER VIEW {name(view)} RENAME TO {name(view + '_files')}; "
            f"CREATE VIEW {name(view)} AS SELECT *, {added} FROM {name(view + '_files')}"
        )

    def _require_whole_fields(self, table: Table, wanted: Collection[str] | None) -> None:
        """Refuses line breaks in what is read, and notes them elsewhere: a stray quote may have swallowed rows."""
        for column, found in table.breaks.items():
            if wanted is not None and column in wanted:
                raise UserError(
                    f"{found.file}, line {found.line}, column {column}: a quoted field holds a line break, which no "
                    "id, time or name does; close its quote, or give --quote none if quotes are ordinary text"
                )
            fields = f"{found.number:,} field{'s' * (found.number > 1)}"
            self.notes.append(
                f"{table.path}: {fields} of column {column} hold line breaks, the first at {found.file}, line "
                f"{found.line}; each is read as part of one row."
            )

    def types(self, relation: str) -> dict[str, str]:
        """The SQL type of each column of a relation.

        Raises:
            UserError: when its files cannot be read.
        """
        try:
            described = self.connection.execute(f"DESCRIBE {name(relation)}").fetchall()
        except UNREADABLE as error:
            raise unreadable(error, self.files(relation)) from error
        return {str(row[0]): str(row[1]) for row in described}

    def row(self, relation: str, sql: str) -> tuple[Any, ...]:
        """The first row of a query over a relation; empty when there is none.

        Raises:
            UserError: when its files cannot be read.
        """
        try:
            return self.connection.execute(sql).fetchone() or ()
        except UNREADABLE as error:
            raise unreadable(error, self.files(relation)) from error

    def first(self, relation: str, value: str, condition: str) -> tuple[str, Any]:
        """The first row of a relation that fulfils a condition, which one does.

        Args:
            relation: a view that was read.
            value: SQL of what to return of the row.
            condition: SQL.

        Returns:
            Its file and row as messages name them, and the value.
        """
        rows = f"SELECT {FILE}, {ROW}, {value} FROM {name(relation)} WHERE {condition} ORDER BY {POSITION} LIMIT 1"
        file, row, found = self.row(relation, rows)
        return f"{file}, {self._place_in(relation, file, row)}", found

    def stage(
        self,
        table: str,
        relation: str,
        columns: Sequence[Column],
        *,
        unique: Sequence[str] = (),
        constant_within: tuple[str, Sequence[str]] | None = None,
        spare: Sequence[str] = (),
        regroup: Callable[[], None] | None = None,
    ) -> int:
        """Creates the table `table` of the relation's good rows: the columns, `__file`, `__row`, `__position`.

        Args:
            table: the name to create; also what the report calls the table.
            relation: a view with the raw columns, `__file`, `__row` and `__position`.
            columns: what to read and check.
            unique: columns that no two rows share; all rows but the first are bad.
            constant_within: (key, columns that are equal in all rows of a key); rows that differ from the first
                are bad.
            spare: columns of which a bad value becomes a missing one where `on_bad_rows` is `skip`; its row stays.
            regroup: what changes the table before `unique` is checked.

        Returns:
            The number of rows read, good and bad.

        Raises:
            UserError: when a column is missing or wrongly typed, a row is bad and `on_bad_rows` is `fail`, or no
                row is left.
        """
        spared: dict[str, list[Check]] = {column: [] for column in spare if self.on_bad_rows == "skip"}
        self._relations[table] = relation
        found = self._create(table, relation, columns, spared)
        rows = self._scalar(f"SELECT count(*) FROM {name(table)}")
        self._require_all_rows(relation, rows)
        if not rows:
            raise UserError(f"{table}: {self.files(relation)} holds no rows; give a table that has some")
        self._require_seconds(table, columns)
        self._settle(table, found)
        if constant_within is not None:
            key, names = constant_within
            for column in names:
                self._settle(table, [self._mark_inconstant(table, key, column)])
        if regroup is not None:
            regroup()
        if unique:
            self._settle(table, [self._mark_repeats(table, unique)])
        if not self._scalar(f"SELECT count(*) FROM {name(table)}"):
            raise UserError(f"{table}: all {rows} rows were bad, so nothing is left; see {self.summary()}")
        for place, checks_of_column in enumerate(spared.values()):
            self._reject(table, checks_of_column, f"_{place}")
        for mark in ("", *(f"_{place}" for place in range(len(spared)))):
            self.connection.execute(
                f"ALTER TABLE {name(table)} DROP __bad{mark}; ALTER TABLE {name(table)} DROP __value{mark}"
            )
        return rows

    def summary(self) -> str:
        """Returns the rejected rows by table, column and reason, on one line."""
        return ", ".join(f"{count} x {reason}" for reason, count in self.rejected.items())

    def write_rejects(self, path: Path) -> None:
        """Writes the rows set aside, if there are any, as Parquet."""
        if self.rejected:
            self.connection.execute(f"COPY rejects TO {quoted(path)} (FORMAT parquet, COMPRESSION zstd)")

    def _require_all_rows(self, relation: str, rows: int) -> None:
        read = self._tables.get(relation)
        if read is not None and rows != read.rows:
            raise UserError(
                f"{read.path}: {rows:,} rows were read where its files hold {read.rows:,}; write them anew, as Parquet "
                "or with another --delimiter, --quote or --escape"
            )

    def _create(
        self, table: str, relation: str, columns: Sequence[Column], spared: dict[str, list[Check]]
    ) -> list[Check]:
        """Creates the table with its bad rows marked; returns the checks, and puts those of spared columns there."""
        types = self.types(relation)
        missing = [column.file_name for column in columns if column.file_name not in types]
        if missing:
            have = ", ".join(self._columns(relation, types))
            mend = "rename one or map the column"
            if any(re.fullmatch(r"[+-]?[0-9]+", other) for other in self._columns(relation, types)):
                mend += ", or give --column-names if that line is no header"
            if f'"{missing[0]}"' in self._columns(relation, types):
                mend = "give --quote '\"'"
            raise UserError(f"{self.files(relation)} has no column {missing[0]}; it has {have}: {mend}")
        found: list[Check] = []
        casts = []
        for column in columns:
            sql = typed(column, types[column.file_name], self.files(relation))
            own = list(checks(column, sql, self._now, self._vector_length(relation, column, sql)))
            if column.name in spared:
                spared[column.name] = own
                sql = f"CASE WHEN {' OR '.join(f'({check.condition})' for check in own)} THEN NULL ELSE {sql} END"
            else:
                found += own
            filled = f"coalesce({sql}, 0)" if column.kind == "code" and not column.nullable else sql
            casts.append(f"{filled} AS {name(column.name)}")
        marked = [(found, ""), *((own, f"_{place}") for place, own in enumerate(spared.values()))]
        inner = ", ".join(f"CASE {_cases(c.condition for c in own)} END AS __bad{place}" for own, place in marked)
        values = ", ".join(
            f"__bad{place}, CASE __bad{place} {_values(own)} END AS __value{place}" for own, place in marked
        )
        try:
            self.connection.execute(
                f"CREATE TABLE {name(table)} AS SELECT {', '.join(casts)}, {FILE}, {ROW}, {POSITION}, {values} "
                f"FROM (SELECT *, {inner} FROM {name(relation)})"
            )
        except UNREADABLE as error:
            raise unreadable(error, self.files(relation)) from error
        return found

    def _vector_length(self, relation: str, column: Column, sql: str) -> int:
        """The length that is given, or that of most vectors; 0 where there is none."""
        if not isinstance(column, VectorColumn):
            return 0
        if column.length is not None:
            return column.length
        counts = self.row(
            relation,
            "SELECT list((length, vectors) ORDER BY vectors DESC, length) FROM (SELECT len(vector) AS length, count(*) "
            f"AS vectors FROM (SELECT {sql} AS vector FROM {name(relation)}) WHERE vector IS NOT NULL GROUP BY length)",
        )[0]
        if counts and len(counts) > 1 and counts[0][1] == counts[1][1]:
            raise UserError(
                f"{self.files(relation)}, column {column.file_name}: there are as many vectors of length "
                f"{counts[0][0]} as of {counts[1][0]}; say which is right with --content-dim"
            )
        return int(counts[0][0]) if counts else 0

    def _require_seconds(self, table: str, columns: Sequence[Column]) -> None:
        """Refuses dates that are written as whole numbers: as seconds they are minutes of August 1970."""
        for column in columns:
            if not isinstance(column, TimeColumn) or column.unit is not None:
                continue
            time = name(column.name)
            dated = f"{time} BETWEEN 19000101 AND 21001231 AND {is_date(time, '%Y%m%d')}"
            row = self.connection.execute(
                f"SELECT count({time}), count(*) FILTER ({dated}), min({time}) FILTER (NOT ({dated})), "
                f"arg_min(({FILE}, {ROW}, {time}), {POSITION}) FILTER ({dated}) FROM {name(table)} WHERE __bad IS NULL"
            ).fetchone()
            assert row is not None
            times, dates, other, first = row
            # Among seconds of this century a date is as wrong as alone; a clock that began at 0 passes such numbers.
            if dates and (dates == times or other > _THIS_CENTURY):
                place = f"{first[0]}, {self._place(table, *first[:2])}, column {column.file_name}"
                raise UserError(
                    f"{place}: {first[2]} is a date written as a number and no Unix seconds ({dates:,} of {times:,} "
                    "values are); give --time-unit date, or --time-unit seconds if they are seconds"
                )

    def _mark_repeats(self, table: str, unique: Sequence[str]) -> Check:
        keys = ", ".join(map(name, unique))
        same = " AND ".join(f"t.{name(key)} = r.{name(key)}" for key in unique)
        # Few keys repeat, so the group-by (which spills) is followed by a small join, not by a window over all rows.
        self.connection.execute(
            f"UPDATE {name(table)} AS t SET __bad = 0, __value = CAST(t.{name(unique[-1])} AS VARCHAR) FROM "
            f"(SELECT {keys}, min({POSITION}) AS first FROM {name(table)} GROUP BY {keys} HAVING count(*) > 1) AS r "
            f"WHERE {same} AND t.{POSITION} > r.first"
        )
        known = [key.removeprefix(TEXT_OF) for key in unique]
        place = f" in the same {known[0]}" if len(unique) > 1 else ""
        return Check(
            known[-1], "duplicate", "", f"{{value}} stands there a second time{place}", "keep one of the rows", ""
        )

    def _mark_inconstant(self, table: str, key: str, column: str) -> Check:
        value, by = name(column), name(key)
        self.connection.execute(
            f"UPDATE {name(table)} AS t SET __bad = 0, __value = CAST(t.{value} AS VARCHAR) FROM "
            f"(SELECT {by}, arg_min({value}, {POSITION}) AS first FROM {name(table)} "
            f"GROUP BY {by} HAVING min({value}) <> max({value})) AS r "
            f"WHERE t.{by} = r.{by} AND t.{value} IS DISTINCT FROM r.first"
        )
        problem = f"{{value}} differs from the first row of the same {key}"
        known = column.removeprefix(TEXT_OF)
        return Check(known, "not constant", "", problem, f"give all rows of a {key} one value", "")

    def _settle(self, table: str, found: Sequence[Check]) -> None:
        """Raises for the marked rows of a table, or moves them to `rejects`."""
        counts = self.connection.execute(
            f"SELECT __bad, count(*), arg_min(({FILE}, {ROW}, __value), {POSITION}), min({POSITION}) AS first "
            f"FROM {name(table)} WHERE __bad IS NOT NULL GROUP BY __bad ORDER BY first"
        ).fetchall()
        if not counts:
            return
        if self.on_bad_rows == "fail":
            index, count, (file, row, value), _ = counts[0]
            check = found[index]
            total = sum(other[1] for other in counts)
            problem = check.problem.format(value="a missing value" if value is None else repr(value))
            many = f"{count} such row{'s' * (count > 1)}" + (f", {total} bad rows in all" if total > count else "")
            raise UserError(
                f"{file}, {self._place(table, file, row)}, column {check.column}: {problem} ({many}); {check.mend}, "
                "or drop and count such rows with --on-bad-rows skip"
            )
        self._reject(table, found)
        self.connection.execute(f"DELETE FROM {name(table)} WHERE __bad IS NOT NULL")

    def _reject(self, table: str, found: Sequence[Check], mark: str = "") -> None:
        """Counts what is marked in `__bad` + mark, and copies it to `rejects`."""
        bad, value = f"__bad{mark}", f"__value{mark}"
        counts = self.connection.execute(
            f"SELECT {bad}, count(*) FROM {name(table)} WHERE {bad} IS NOT NULL GROUP BY 1 ORDER BY min({POSITION})"
        ).fetchall()
        for index, count in counts:
            check = found[index]
            reason = f"{table}.{check.column}.{check.reason}"
            self.rejected[reason] = self.rejected.get(reason, 0) + count
            self.connection.execute(
                f"INSERT INTO rejects SELECT {quoted(table)}, {FILE}, {ROW}, {quoted(check.column)}, "
                f"{quoted(check.reason)}, {value} FROM {name(table)} WHERE {bad} = {index} ORDER BY {POSITION}"
            )

    def _place(self, table: str, file: str, row: int) -> str:
        return self._place_in(self._relations[table], file, row)

    def _place_in(self, relation: str, file: str, row: int) -> str:
        read = self._tables.get(relation)
        return f"row {row}" if read is None else read.place(file, row)

    def _columns(self, relation: str, types: Collection[str]) -> Sequence[str]:
        read = self._tables.get(relation)
        return read.columns if read is not None else [other for other in types if not other.startswith("__")]

    def files(self, relation: str) -> str:
        """The path of a relation's files."""
        if relation in self._tables:
            return str(self._tables[relation].path)
        row = self.connection.execute(f"SELECT {FILE} FROM {name(relation)} LIMIT 1").fetchone()
        return str(row[0]) if row else relation

    def _scalar(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return int(row[0])


def _cases(conditions: Iterable[str]) -> str:
    """SQL that numbers the first condition that holds; the last case holds never, for there must be one."""
    return " ".join(f"WHEN {condition} THEN {index}" for index, condition in enumerate((*conditions, "false")))


def _values(found: Sequence[Check]) -> str:
    """SQL of the offending value of each check."""
    return " ".join(f"WHEN {index} THEN {check.value}" for index, check in enumerate(found)) or "WHEN 0 THEN NULL"
