#!/usr/bin/env bash
# What DuckDB's CSV reader makes of lines, with every setting given and nothing left to detect.
# Exits with 0 as long as DuckDB behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.0
cat > "$folder/lines.py" <<'PYTHON'
"""Small files, read with the dialect and the columns spelled out."""

import sys
from pathlib import Path

import duckdb

connection = duckdb.connect()
file = Path(sys.argv[1]) / "lines.csv"


def read(text: str, columns: str = "abc", escape: str = '"') -> list[tuple[str | None, ...]]:
    file.write_bytes(text.encode())
    types = ", ".join(f"'{column}': 'VARCHAR'" for column in columns)
    settings = f"auto_detect = false, header = true, delim = ',', quote = '\"', escape = '{escape}'"
    return connection.execute(f"SELECT * FROM read_csv('{file}', {settings}, columns = {{{types}}})").fetchall()


found = {
    "a line of four fields under three names, the fourth empty": read("a,b,c\n1,2,3,\n"),
    "a blank line before the header": read("\na,b,c\n1,2,3\n"),
    "a blank line in a file of three columns": read("a,b,c\n\n1,2,3\n"),
    "a blank line in a file of one column": read("a\n\n1\n", "a"),
    "a quoted field with blanks around it": read('a,b,c\n1, "2" ,3\n'),
    "a backslash before a letter, in quotes, where backslashes escape": read('a,b,c\n1,"C:\\temp",3\n', escape="\\"),
}
expected = [
    [("1", "2", "3")],
    [("a", "b", "c"), ("1", "2", "3")],
    [("1", "2", "3")],
    [(None,), ("1",)],
    [("1", "2", "3")],
    [("1", "C:temp", "3")],
]
numbers = connection.execute("SELECT TRY_CAST('1_000' AS BIGINT), TRY_CAST('0x10' AS BIGINT)").fetchone()
print("duckdb", duckdb.__version__)
print("Behaviour: a fourth field is passed over if it is empty; a blank line before the header makes the header a row; a")
print("  blank line is a row in a file of one column only; blanks around quotes go with them; a backslash before a letter")
print("  is lost. Cast to a number, 1_000 is 1000 and 0x10 is 16.")
print("One would have guessed: with every setting given, a line of another number of fields is an error, blanks are part of")
print("  a field, blank lines count everywhere or nowhere, and a backslash before a letter stays, as Spark writes it.")
for what, rows in found.items():
    print(f"{what}: {rows}")
print("'1_000', '0x10':", numbers)
sys.exit(0 if list(found.values()) == expected and numbers == (1000, 16) else "DuckDB behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/lines.py" "$folder"
