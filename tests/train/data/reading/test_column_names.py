"""Columns that nobody asked for have no effect, whatever they are called."""

import pyarrow
import pyarrow.parquet
import pytest

PLAIN = {"user_id": [2, 1, 2], "timestamp": [1_700_000_000] * 3, "action": ["click"] * 3, "item_id": [9, 8, 7]}
ODD = (
    *("__row", "__file", "__position", "__bad", "__value", "file_row_number", "FILE_ROW_NUMBER", "filename"),
    *("Timestamp", "TIMESTAMP", "User_ID", "surface ", "", "it's", 'a "b"', "c,d", "rowid", "column0", "é", "select"),
)


def write(table, kind, extra, columns=PLAIN):
    """The extra columns stand before and between the others, with values that must not be used."""
    names, values = [], []
    for place, (name, column) in enumerate(columns.items()):
        for other in extra[place :: len(columns)]:
            names.append(other)
            values.append([3, 2, 1])
        names.append(name)
        values.append(column)
    path = table.write(f"log.{kind}", b"")
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.table([pyarrow.array(v) for v in values], names=names), path)
    else:
        fields = ['"' + name.replace('"', '""') + '"' for name in names]
        lines = [fields, *zip(*(map(str, value) for value in values), strict=True)]
        path.write_text("".join(",".join(line) + "\n" for line in lines))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("extra", [*((name,) for name in ODD), ODD, ("x", "x")], ids=repr)
def test_a_column_that_is_not_read_has_no_effect(table, kind, extra):
    write(table, kind, extra)
    events = table.prepare(f"log.{kind}")
    assert events.user_id.tolist() == [1, 2, 2]
    assert events.item_id.tolist() == [8, 9, 7]  # equal times keep the order of the file
    assert set(events.timestamp) == {1_700_000_000}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_messages_name_the_row_of_the_file(table, kind):
    write(table, kind, ODD, {**PLAIN, "action": ["click", "buy", "click"]})
    row = 3 if kind == "csv" else 2
    assert f"log.{kind}, row {row}, column action: 'buy' is not one of click, save" in table.refusal(f"log.{kind}")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_is_read_may_not_stand_there_twice(table, kind):
    write(table, kind, ("item_id",))
    assert f"log.{kind} names the column item_id twice; rename one of them" in table.refusal(f"log.{kind}")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_odd_names_may_be_asked_for(table, kind):
    write(table, kind, ("file_row_number", 'a "b"', "Item_ID"), {**PLAIN, "item_id": [0, 0, 0]})
    flags = ("--columns.user_id", 'a "b"', "--columns.item_id", "file_row_number")
    events = table.prepare(f"log.{kind}", *flags)
    assert events.user_id.tolist() == events.item_id.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (("--columns.item_id", "__row"), "the column __row is what prepare calls a column of its own"),
        (("--columns.item_id", "Timestamp"), "the column timestamp differs from Timestamp by case alone"),
    ],
)
def test_a_name_that_cannot_be_told_apart_is_refused(table, flags, match):
    write(table, "csv", ODD)
    assert match in table.refusal("log.csv", *flags)
