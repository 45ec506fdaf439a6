"""Each mistake in a user's log is named with file, row and column, or counted and kept aside."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow.parquet
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.events import ColumnNames, Events


def put(row: int, column: str, value: Any) -> Any:
    """Spoils one value; `row` counts data rows from 0."""

    def spoil(table: pd.DataFrame) -> None:
        table.loc[row, column] = value

    return spoil


# Data row 3 of a CSV file is line 5: the header is line 1.
MISTAKES = [
    ("events", put(3, "user_id", None), r"events\.csv, row 5, column user_id: the value is missing"),
    ("events", put(3, "user_id", "abc"), r"events\.csv, row 5, column user_id: 'abc' is not an integer \(1 such row\)"),
    ("events", put(3, "item_id", "1.5"), r"row 5, column item_id: '1.5' is not an integer"),
    ("events", put(3, "timestamp", -5), r"row 5, column timestamp: '-5' is negative"),
    ("events", put(3, "timestamp", 1_700_000_000_000), r"row 5, column timestamp: '\d+' lies in the future.*divide"),
    ("events", put(3, "action", "buy"), r"row 5, column action: 'buy' is not one of click, save"),
    ("events", put(3, "action", None), r"row 5, column action: a missing value is not one of"),
    ("impressions", put(3, "price", "inf"), r"impressions\.csv, row 5, column price: 'inf' is not a finite number"),
    ("impressions", put(3, "price", "nan"), r"row 5, column price: 'nan' is not a finite number"),
    ("impressions", put(3, "price", "1e300"), r"row 5, column price: '1e300' is not a"),
    ("impressions", put(3, "price", None), r"row 5, column price: the value is missing"),
    ("impressions", put(3, "click", "perhaps"), r"row 5, column click: 'perhaps' is not a boolean"),
    ("impressions", put(3, "shop", "x"), r"row 5, column shop: 'x' is not an integer"),
    (
        "impressions",
        put(3, "item_id", 104),
        r"row 5, column item_id: '104' stands there a second time in the same request_id",
    ),
    (
        "impressions",
        put(3, "user_id", 9),
        r"row 5, column user_id: '9' differs from the first row of the same request_id",
    ),
    ("impressions", put(3, "hour", 9), r"row 5, column hour: '9' differs from the first row of the same request_id"),
    ("items", put(3, "item_id", 100), r"items\.csv, row 5, column item_id: '100' stands there a second time \("),
    ("items", put(3, "created_at", 1 << 40), r"items\.csv, row 5, column created_at: '\d+' lies in the future"),
]


@pytest.mark.parametrize(
    ("table", "spoil", "match"), MISTAKES, ids=[f"{table} {match[-28:]}" for table, _, match in MISTAKES]
)
def test_a_bad_row_is_named_or_counted(logs, table, spoil, match):
    logs.write(**{table: spoil})
    with pytest.raises(UserError, match=match):
        logs.prepare()
    assert not (logs.folder / "out").exists()
    info = logs.prepare(on_bad_rows="skip").info
    assert sum(info.counts.rejected.values()) == 1
    rejects = pyarrow.parquet.read_table(logs.folder / "out" / "rejects.parquet").to_pylist()
    assert [(row["table"], row["row"]) for row in rejects] == [(table, 5)]
    assert list(info.counts.rejected) == [f"{table}.{rejects[0]['column']}.{rejects[0]['reason']}"]
    read = {"events": info.counts.events, "impressions": sum(info.counts.impressions.values()), "items": 8}
    expected = {"events": 10, "impressions": 20, "items": 8}
    if table != "items":  # rejected items come back, as occurring ones, without their attributes
        expected[table] -= 1
    assert read == expected


def test_the_count_and_the_first_row_are_told(logs):
    def spoil(table: pd.DataFrame) -> None:
        table.loc[[2, 4, 6], "item_id"] = "x"
        table.loc[8, "timestamp"] = -1

    logs.write(events=spoil)
    with pytest.raises(UserError, match=r"row 4, column item_id: 'x'.* \(3 such rows, 4 bad rows in all\)"):
        logs.prepare()
    rejected = logs.prepare(on_bad_rows="skip").info.counts.rejected
    assert rejected == {"events.item_id.wrong type": 3, "events.timestamp.negative": 1}


def test_rows_of_parquet_count_from_one(logs):
    logs.write("parquet", events=put(3, "timestamp", -5))
    with pytest.raises(UserError, match=r"events\.parquet, row 4, column timestamp: '-5' is negative"):
        logs.prepare("parquet")


def test_a_missing_column_is_an_error(logs):
    logs.write(events=lambda table: table.drop(columns="item_id"))
    with pytest.raises(
        UserError, match=r"events\.csv has no column item_id; it has user_id, timestamp, action, surface"
    ):
        logs.prepare()


def test_names_are_no_patterns_and_folders_no_columns(logs):
    """A file called e[1].csv is itself, not e1.csv; a folder called user_id=7 says nothing of its rows."""
    logs.write()
    events = pd.read_csv(logs.folder / "events.csv")
    folder = logs.folder / "user_id=77"
    folder.mkdir()
    events.to_csv(folder / "e[1].csv", index=False)
    events.head(4).to_csv(folder / "e1.csv", index=False)
    prepare(Events(path=folder / "e[1].csv", actions=["click", "save"]), logs.folder / "out", PrepareOptions())
    counts = PreparedDataset.open(logs.folder / "out").info.counts
    assert (counts.events, counts.users) == (10, 2)


def test_a_folder_holds_nothing_but_its_files(logs):
    logs.write()
    folder = logs.folder / "events"
    folder.mkdir()
    (folder / "notes.md").touch()
    (logs.folder / "events.csv").rename(folder / "a.csv")
    (folder / "_SUCCESS").touch()
    source = Events(path=folder, actions=["click", "save"])
    with pytest.raises(UserError, match=r"events/notes\.md is no file ending in .*; move it out of the table's folder"):
        prepare(source, logs.folder / "out", PrepareOptions())
    (folder / "notes.md").unlink()
    prepare(source, logs.folder / "out", PrepareOptions())


def test_surfaces_are_listed_once_without_impressions(logs):
    logs.write()
    source = Events(path=logs.folder / "events.csv", actions=["click", "save"])
    prepare(source, logs.folder / "out", PrepareOptions())
    assert PreparedDataset.open(logs.folder / "out").info.schema.surfaces == ("home",)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_one_file_of_a_folder_lacks_is_an_error(logs, kind):
    logs.write(kind)
    whole = logs.folder / "events"
    whole.mkdir()
    (logs.folder / f"events.{kind}").rename(whole / f"a.{kind}")
    late = logs.tables["events"].drop(columns="surface")
    late.to_csv(whole / "b.csv", index=False) if kind == "csv" else late.to_parquet(whole / "b.parquet")
    with pytest.raises(UserError, match=rf"b\.{kind} has no column surface, which other files of its folder have"):
        prepare(replace(logs.source(kind), path=whole), logs.folder / "out", PrepareOptions())


def test_a_wrongly_typed_column_is_an_error(logs):
    logs.write("parquet", events=lambda table: table.assign(timestamp=[[0]] * len(table)))
    with pytest.raises(
        UserError, match=r"events\.parquet, column timestamp: its type is BIGINT\[\], but it must be a time \(Unix"
    ):
        logs.prepare("parquet")


@pytest.mark.parametrize("table", ["events", "impressions", "items"])
def test_an_empty_table_is_an_error(logs, table):
    logs.write(**{table: lambda frame: frame.iloc[:0]})
    with pytest.raises(UserError, match=rf"{table}\.csv holds no rows"):
        logs.prepare()


def test_nothing_left_is_an_error(logs):
    logs.write(events=lambda table: table.assign(action="buy"))
    with pytest.raises(UserError, match="all 10 rows were bad"):
        logs.prepare(on_bad_rows="skip")


def test_a_torn_line_is_an_error(logs):
    logs.write()
    with (logs.folder / "events.csv").open("a") as file:
        file.write("1,2\n")
    with pytest.raises(UserError, match=r"events\.csv, line 12: 2 fields where the header has 5; mend the line"):
        logs.prepare(on_bad_rows="skip")


@pytest.mark.parametrize("content", [[[1.0, 2.0]] * 7 + [[1.0]], [[1.0, 2.0]] * 7 + [[1.0, float("nan")]]])
def test_a_bad_vector_is_an_error(logs, content):
    logs.write("parquet", items=lambda table: table.assign(content=content))
    with pytest.raises(UserError, match=r"items\.parquet, row 8, column content: the vector"):
        logs.prepare("parquet")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"positive_actions": ["buy"]}, "positive_actions names buy"),
        ({"request_features": ["colour"]}, "request_features names colour"),
        ({"text_ids": ["shop"]}, r"text_ids names shop, which is not among the columns of ids \(user_id, item_id, r"),
        ({"tasks": []}, "--impressions needs tasks"),
        ({"impressions": None}, "tasks and features are columns of impressions"),
        ({"items": None}, "item_attributes are columns of items"),
        ({"actions": [], "positive_actions": None}, "actions is empty"),
        ({"actions": ["click", "save", "click"]}, "actions names 'click' twice; name each action once"),
        ({"positive_actions": ["save", "save"]}, "positive_actions names 'save' twice"),
        ({"dense_features": ["click"]}, "the column click is named for two purposes"),
        ({"columns": ColumnNames(content="vector")}, r"items\.csv has no column vector; correct --columns\.content"),
        (
            {"validation_start": "1970-31-12"},
            r"validation_start \(1970-31-12\) is no date or time; write it as 2022-05-05, ",
        ),
        ({"test_start": "1970-01-01T25:00"}, r"test_start \(1970-01-01T25:00\) is no date or time"),
        ({"test_start": "in May"}, r"test_start \(in May\) is no date or time"),
        (
            {"validation_start": "1969-12-01"},
            r"the splits are out of order \(first row 1970-01-01 01:00:00, validation_start 1969-12-01 00:00:00, ",
        ),
    ],
)
def test_a_flag_that_does_not_fit_is_an_error(logs, fields, match):
    logs.write()
    with pytest.raises(UserError, match=match):
        logs.prepare(**fields)


@pytest.mark.parametrize(
    ("path", "match"),
    [("none.csv", "does not exist"), ("notes.txt", "is of no kind"), ("empty", "holds no file ending in")],
)
def test_a_file_that_cannot_be_read_is_an_error(logs, path, match):
    logs.write()
    (logs.folder / "notes.txt").write_text("x")
    (logs.folder / "empty").mkdir()
    with pytest.raises(UserError, match=match):
        logs.prepare(path=logs.folder / path)


def test_a_broken_parquet_file_is_an_error(logs):
    logs.write("parquet")
    (logs.folder / "events.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"cannot read .*events\.parquet"):
        logs.prepare("parquet")


def test_braces_in_the_name_of_an_action_are_themselves(logs):
    logs.write(events=put(3, "action", "buy"))
    with pytest.raises(UserError, match=r"'buy' is not one of click, save, \{x\}"):
        logs.prepare(actions=["click", "save", "{x}"])
