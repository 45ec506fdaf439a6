"""Text files as people write them: every row is read, or the line that is none is named."""

import gzip

import pyarrow
import pytest

from pinfm.train.data.reading import readers
from pinfm.train.data.reading.text import proof, records, streams

HEADER = "user_id,timestamp,action,surface,item_id,note"
ROWS = [f"{1 + n % 3},{1_700_000_000 + n},click,home,{100 + n},note {n}" for n in range(8)]


def csv(*rows, header=HEADER):
    return "\n".join((header, *rows)) + "\n"


def tsv(*rows, header=HEADER):
    return csv(*rows, header=header).replace(",", "\t")


def test_quotes_in_tab_separated_text_are_text(table):
    table.write("log.tsv", tsv(*ROWS[:2]).replace("home", '"attic').replace("note 1", 'end"'))
    events = table.prepare("log.tsv")
    assert events.item_id.tolist() == [100, 101]
    assert set(events.surface) == {'"attic'}


@pytest.mark.parametrize("delimiter", ["\\x01", "\\001", "^A", "\x01"])
def test_a_delimiter_may_be_given_by_its_code(table, delimiter):
    table.write("log.csv", csv(*ROWS).replace(",", "\x01"))
    assert table.prepare("log.csv", "--delimiter", delimiter).item_id.tolist() == [
        100 + n for n in (0, 3, 6, 1, 4, 7, 2, 5)
    ]


def test_a_quoted_field_that_swallows_rows_is_named(table):
    rows = ROWS.copy()
    rows[1], rows[6] = rows[1].replace("note 1", '"note'), rows[6].replace("note 6", 'note"')
    table.write("log.csv", csv(*rows))
    assert "log.csv, line 3: a quoted field begins here and holds 5 lines like rows of 6 fields" in table.refusal(
        "log.csv"
    )
    assert len(table.prepare("log.csv", "--quote", "none")) == 8


@pytest.mark.parametrize("column", [0, 2, 6])
@pytest.mark.parametrize("packed", [False, True])
def test_a_quoted_field_that_swallows_one_row_is_named(table, column, packed):
    rows = [[*row.split(",")[:2], "a", *row.split(",")[2:]] for row in ROWS]
    if column == 0:
        rows = [[f"note {n}", *row[:-1]] for n, row in enumerate(rows)]
    rows[3][column], rows[4][column] = '"' + rows[3][column], rows[4][column] + '"'
    header = "note,user_id,timestamp,x,action,surface,item_id" if column == 0 else HEADER.replace("action", "x,action")
    text = csv(*map(",".join, rows), header=header)
    name, data = ("log.csv.gz", gzip.compress(text.encode())) if packed else ("log.csv", text.encode())
    table.write(name, data)
    assert f"{name}, line 5: a quoted field begins here and holds a line like a row of 7 fields" in table.refusal(name)
    assert len(table.prepare(name, "--quote", "none")) == 8


@pytest.mark.parametrize(
    ("title", "swallows"), [('"Alien\n101,Brazil"', True), ('"Alien\nwell, yes"', False), ('"Well,\n no, no"', False)]
)
def test_a_row_that_is_swallowed_in_a_table_of_two_columns(table, title, swallows):
    items = str(table.write("items.csv", f"item_id,title\n100,{title}\n102,Cube\n"))
    table.write("log.csv", csv(*ROWS))
    if swallows:
        assert "items.csv, line 2: a quoted field begins here" in table.refusal("log.csv", "--items", items)
    else:
        table.prepare("log.csv", "--items", items)


def test_prose_of_as_many_commas_as_a_row_is_one_field(table):
    rows = [row.replace("note", '"a, b, c, d, e, f\nYes\n1, 2, 3, 4, 5, 6\n7, 8, 9, 10, 11, 12') + '"' for row in ROWS]
    table.write("log.csv", csv(*rows))
    assert len(table.prepare("log.csv")) == 8


def test_a_line_break_in_a_column_that_is_read_is_refused(table):
    table.write("log.csv", csv(ROWS[0].replace("home", '"at\nhome"'), ROWS[1]))
    assert "log.csv, line 2, column surface: a quoted field holds a line break" in table.refusal("log.csv")


def test_line_breaks_elsewhere_are_counted_and_told(table):
    table.write("log.csv", csv(*(row.replace("note", '"two\nlines') + '"' for row in ROWS)))
    assert len(table.prepare("log.csv")) == 8
    assert any("8 fields of column note hold line breaks, the first at" in note for note in table.info["notes"])


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ("1,1700000000,click,home,100", "line 3: 5 fields where the header has 6; mend the line"),
        (ROWS[1] + ",", "line 3: 7 fields where the header has 6; mend the line, or name all columns with"),
        (ROWS[1].replace("note", '"she said "no" and'), 'line 3: a quote (") stands in the middle of a quoted field'),
        (ROWS[1].replace("note", '"note'), 'line 3: a quote (") opens here and is never closed'),
        (ROWS[1].replace("note", "a\0b"), "line 3: there is a NUL byte"),
        (ROWS[1].encode() + b"\xe9", "line 3: the byte 0xE9 is no utf-8 text; give the file's encoding"),
    ],
)
def test_a_line_that_is_no_row_is_named(table, row, match):
    text = csv(ROWS[0]).encode() + (row if isinstance(row, bytes) else row.encode()) + b"\n" + ROWS[2].encode()
    table.write("log.csv", text)
    assert match in table.refusal("log.csv")
    assert match in table.refusal("log.csv", "--on-bad-rows", "skip")


@pytest.mark.parametrize(
    ("name", "text", "flags"),
    [
        ("log.csv", "\ufeff" + csv(*ROWS), ()),
        ("log.csv", csv(*ROWS).replace("\n", "\r\n"), ()),
        ("log.csv", csv(*ROWS).replace("\n", "\r"), ()),
        ("log.csv", csv(*ROWS).replace("\n", "\r\n", 3), ()),
        ("log.csv", csv(*ROWS).rstrip("\n"), ()),
        ("log.csv", "\n" + csv(*ROWS).replace("\n", "\n\n"), ()),
        ("log.csv", csv(*ROWS).replace("note 3", 'a 5" pipe'), ()),
        ("log.csv", csv(*ROWS).replace("note 3", 'no\rte "3'), ()),
        ("log.csv", csv(*ROWS).replace("note 3", '"a ""quoted"", note"'), ()),
        ("log.csv", csv(*ROWS).replace("note 3", '"said \\"no\\", C:\\x"'), ("--escape", "\\")),
        (
            "log.csv",
            csv(*ROWS).replace("note", "'no, te").replace("\n", "'\n").replace("note'", "note"),
            ("--quote", "'"),
        ),
        ("log.csv", csv(*ROWS).replace(",", ";"), ("--delimiter", ";")),
        ("log.csv", csv(*ROWS).replace(",", "|"), ("--delimiter", "pipe")),
        ("log.dat", csv(*ROWS).replace(",", "::"), ("--delimiter", "::")),
        ("log.csv", csv(*ROWS).replace(",", "\x01"), ("--delimiter", "\x01")),
        ("log.tsv", tsv(*ROWS).replace("note 3", "a\\\tb\\\nc\\\\"), ("--escape", "\\")),
        ("log.tsv", tsv(*ROWS).replace("note 3", '"a\tb"'), ("--quote", '"')),
        ("log.csv", csv(*ROWS).replace("note 3", "né").encode("latin-1"), ("--encoding", "latin-1")),
        ("log.csv", csv(*ROWS).encode("utf-16"), ("--encoding", "utf-16")),
        ("log.csv", '# exported "today\n# by me\n' + csv(*ROWS), ("--skip-lines", "2")),
        ("log.csv", csv(*ROWS).replace("note 3", "x" * 3_000_000), ()),
        ("log.csv.gz", gzip.compress(csv(*ROWS[:3]).encode()) + gzip.compress("\n".join(ROWS[3:]).encode()), ()),
        ("log.csv.zst", pyarrow.compress(csv(*ROWS).encode(), codec="zstd", asbytes=True), ()),
    ],
)
def test_every_row_of_a_dialect_is_read(table, name, text, flags):
    table.write(name, text)
    events = table.prepare(name, *flags)
    assert sorted(events.item_id) == list(range(100, 108))
    assert set(events.surface) == {"home"}
    assert set(events.action) == {"click"}


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("log.csv", csv(*ROWS).replace(",", ";"), "the header is one field that holds ';'; give --delimiter ';'"),
        ("log.csv", tsv(*ROWS), "the header is one field that holds tab; give --delimiter tab"),
        ("log.csv", csv(*ROWS).encode("utf-16"), "begins as utf-16 does; read it with --encoding utf-16"),
        ("log.csv", "", "holds no rows"),
        ("log.csv", csv(), "holds no rows"),
        ("log.csv.gz", csv(*ROWS), "is no whole gzip file"),
        ("log.csv.gz", gzip.compress(csv(*ROWS).encode())[:-9], "is no whole gzip file"),
        ("log.csv.zst", csv(*ROWS), "is no whole zstd file"),
        ("log.csv", "\n".join(ROWS), "log.csv has no column user_id; it has 1, 1700000000, click, home, 100, note 0: "),
    ],
)
def test_a_file_that_is_not_what_it_seems_is_refused(table, name, text, match):
    table.write(name, text)
    assert match in table.refusal(name)


def test_a_bad_row_is_named_by_its_line_too(table):
    rows = [ROWS[0].replace("note 0", '"two\nlines"'), "", ROWS[1].replace("click", "buy"), ROWS[2]]
    table.write("log.csv", "\n" + csv(*rows))
    assert "log.csv, row 3 (line 6), column action: 'buy' is not one of click, save" in table.refusal("log.csv")


def test_quotes_in_a_header_of_tab_separated_text(table):
    table.write("log.tsv", tsv(*ROWS, header='"user_id",timestamp,action,surface,item_id,note'))
    assert 'log.tsv has no column user_id; it has "user_id", timestamp' in table.refusal("log.tsv")
    assert "give --quote '\"'" in table.refusal("log.tsv")


def test_row_names_of_r_are_named(table):
    rows = [f"{n}\t{row}" for n, row in enumerate(tsv(*ROWS).splitlines()[1:], start=1)]
    table.write("log.tsv", "\n".join([HEADER.replace(",", "\t"), *rows]))
    assert "line 2: 7 fields where the header has 6" in table.refusal("log.tsv")
    names = f"row,{HEADER}"
    assert len(table.prepare("log.tsv", "--skip-lines", "1", "--column-names", names)) == 8


def test_a_file_without_a_header(table):
    table.write("log.csv", "\n".join(ROWS))
    assert len(table.prepare("log.csv", "--column-names", HEADER)) == 8


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (("--column-names", HEADER), "log.csv, line 1: this is a header; leave out the column names"),
        (("--column-names", "[user_id, timestamp]"), "line 1: 6 fields where the column names are 2"),
        (("--column-names", "a,b,a"), "the column names hold 'a' twice"),
        (("--delimiter", ""), "delimiter is empty"),
        (("--delimiter", "12345"), r"delimiter ('12345') must be at most 4 bytes"),
        (("--quote", "ab"), "quote ('ab') must be one character"),
        (("--quote", ",", "--delimiter", ","), "delimiter, quote and escape must differ"),
        (("--encoding", "klingon"), "encoding (klingon) is unknown"),
        (("--skip-lines", "-1"), "skip_lines (-1) must not be negative"),
        (("--null", "a\nb"), "null holds a line break"),
        (("--columns.user_id", "1"), "has no column 1"),
    ],
)
def test_a_flag_that_no_file_fits_is_refused(table, flags, match):
    table.write("log.csv", csv(*ROWS))
    assert match in table.refusal("log.csv", *flags)


def test_a_first_row_is_not_taken_for_a_header(table):
    table.write("log.csv", "\n".join(ROWS))
    flags = ("--columns.user_id", "1", "--columns.timestamp", "1700000000", "--columns.action", "click")
    said = table.refusal("log.csv", *flags, "--columns.item_id", "100", "--columns.surface", "home")
    assert "the column 1 is called like a value, so its first line is no header" in said


def test_what_a_missing_value_looks_like(table):
    table.write("log.tsv", tsv(*ROWS).replace("home", "\\N", 1))
    assert table.prepare("log.tsv").surface.isna().sum() == 1


def test_what_a_missing_value_looks_like_may_be_told(table):
    table.write("log.tsv", tsv(*ROWS).replace("home", "NULL", 1).replace("home", "n/a", 1))
    assert table.prepare("log.tsv", "--null", "NULL,n/a").surface.isna().sum() == 2


def test_rows_that_the_engine_loses_are_noticed(table, monkeypatch):
    table.write("log.csv", csv(*ROWS))
    monkeypatch.setattr(readers, "_select", lambda *args: SELECT(*args) + " WHERE column4 <> '103'")
    assert "7 rows were read where its files hold 8" in table.refusal("log.csv")


SELECT = readers._select


def test_a_record_without_an_end_does_not_fill_the_memory(table, monkeypatch):
    monkeypatch.setattr(streams, "BLOCK_BYTES", 64)
    monkeypatch.setattr(records, "LONGEST_RECORD", 100)
    table.write("log.csv", csv(ROWS[0].replace("note", '"note'), *ROWS[1:]))
    assert "line 2: what begins here has over" in table.refusal("log.csv")


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_blocks_of_any_size_give_the_same_count(tmp_path, monkeypatch, size):
    text = csv(*ROWS).replace("note 3", '"a ""b"",\nc"').replace("note 5", 'a 5" pipe')
    path = tmp_path / "log.csv"
    path.write_text(text)
    layout = records.Layout().of_file(path)
    monkeypatch.setattr(streams, "BLOCK_BYTES", size)
    counted = proof.Counter(path, layout, 6, header=True).count()
    assert (counted.rows, counted.broken) == (8, {5: (5, 1)})
    assert [len(record.fields) for record in records.records(path, layout)] == [6] * 9
