"""What pandas and public logs make of whole numbers, flags and vectors."""

import numpy as np
import pandas as pd
import pytest

from pinfm.train.data.reading import numbers
from pinfm.train.data.reading.readers import connect

NAN = float("nan")
EVENTS = "user_id,timestamp,action,item_id\n" + "".join(f"1,{1_700_000_000 + n},click,{100 + n}\n" for n in range(6))


def prepare(table, kind, flags=(), items=None, **columns):
    """Prepares four impressions; the columns are theirs, or those of `items`."""
    table.write("log.csv", EVENTS)
    shown = {"request_id": [1, 1, 2, 2], "user_id": 1, "timestamp": [1_700_000_010] * 2 + [1_700_000_020] * 2}
    shown |= {"item_id": [100, 101, 102, 103], "click": [1, 0, 0, 1], **columns}
    paths = {"impressions": shown, **({} if items is None else {"items": items})}
    for name, values in paths.items():
        path = table.write(f"{name}.{kind}", b"")
        frame = pd.DataFrame(values)
        frame.to_parquet(path) if kind == "parquet" else frame.to_csv(path, index=False)
        flags = (f"--{name}", str(path), *flags)
    return ("log.csv", *flags, "--tasks", "click", "--validation-start", "2024-01-01")


def shown(table):
    return pd.read_parquet(table.folder / "out" / "impressions" / "train" / "bucket-00000.parquet")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("labels", [[1.0, 0.0, 0.0, 1.0], [True, False, False, True], ["1", "0", "0.0", "true"]])
def test_a_label_may_be_a_float_or_a_boolean(table, kind, labels):
    table.prepare(*prepare(table, kind, click=labels))
    assert [bool(x) for row in shown(table).label_click for x in row] == [True, False, False, True]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("label", [0.5, 2, NAN])
def test_a_label_that_is_neither_is_refused(table, kind, label):
    said = table.refusal(*prepare(table, kind, click=[1.0, label, 0.0, 1.0]))
    assert f"impressions.{kind}, row {3 if kind == 'csv' else 2}, column click: " in said


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, NAN, 4.0, 3.0], [3, 0, 4, 3]),
        ([3, 0, 4, 3], [3, 0, 4, 3]),
        ([True, False, True, False], [1, 0, 1, 0]),
        (["3.0", "NaN", None, "-3"], [3, 0, 0, -3]),
    ],
)
def test_a_categorical_value_may_be_a_whole_float_or_missing(table, kind, values, expected):
    table.prepare(*prepare(table, kind, ("--categorical-features", "shop"), shop=values))
    assert [x for row in shown(table)["shop"] for x in row] == expected


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("value", [3.5, 1e17, float("inf"), "x"])
def test_a_categorical_value_that_is_no_whole_number_is_refused(table, kind, value):
    others = [str(3)] if isinstance(value, str) else [3.0]
    said = table.refusal(*prepare(table, kind, ("--categorical-features", "shop"), shop=[value, *others * 3]))
    assert f"row {2 if kind == 'csv' else 1}, column shop: " in said
    assert "is not an integer" in said


@pytest.mark.parametrize("value", [1 << 24, (1 << 24) + 2])
def test_a_small_float_that_may_have_lost_digits_is_refused(table, value):
    shops = np.array([value, 3, 3, 3], dtype=np.float32)
    said = table.refusal(*prepare(table, "parquet", ("--categorical-features", "shop"), shop=shops))
    assert f"row 1, column shop: '{float(value)}' is not an integer" in said


@pytest.mark.parametrize(
    ("sql_type", "value", "strict", "lenient"),
    [
        ("VARCHAR", "7", 7, 7),
        ("VARCHAR", " 7.0 ", 7, 7),
        ("VARCHAR", "+7", None, 7),
        ("VARCHAR", "07", None, 7),
        ("VARCHAR", "7.5", None, None),
        ("VARCHAR", "1e3", None, None),
        ("VARCHAR", "1700000000000000000.0", None, 1_700_000_000_000_000_000),
        ("VARCHAR", str(2**64 - 1), 2**64 - 1, 2**64 - 1),
        ("VARCHAR", str(2**64), None, None),
        ("DOUBLE", 2.0**53 - 1, 2**53 - 1, 2**53 - 1),
        ("DOUBLE", 2.0**53, None, None),
        ("DOUBLE", float("nan"), None, None),
        ("FLOAT", 2.0**24 - 1, 2**24 - 1, 2**24 - 1),
        ("FLOAT", 2.0**24, None, None),
        ("DECIMAL(38,1)", "1700000000000000000.0", 1_700_000_000_000_000_000, 1_700_000_000_000_000_000),
        ("DECIMAL(38,1)", "7.5", None, None),
        ("BIGINT", -(2**63), -(2**63), -(2**63)),
        ("UBIGINT", 2**64 - 1, 2**64 - 1, 2**64 - 1),
        ("HUGEINT", -(2**63) - 1, None, None),
        ("BOOLEAN", True, 1, 1),
    ],
)
def test_one_reading_of_whole_numbers(tmp_path, sql_type, value, strict, lenient):
    with connect(tmp_path, 1.0) as connection:
        for leniently, expected in ((False, strict), (True, lenient)):
            sql = numbers.whole("value", sql_type, leniently)
            found = connection.execute(f"SELECT {sql} FROM (SELECT $1::{sql_type} AS value)", [value]).fetchone()
            assert found == (expected,)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_dense_feature_may_be_a_boolean(table, kind):
    table.prepare(*prepare(table, kind, ("--dense-features", "weekend"), weekend=[True, False, False, True]))
    assert [x for row in shown(table).weekend for x in row] == [1.0, 0.0, 0.0, 1.0]


def test_a_dense_feature_is_no_python_number(table):
    said = table.refusal(*prepare(table, "csv", ("--dense-features", "price"), price=["1_000", "1", "2", "3"]))
    assert "'1_000' is not a number" in said


ITEMS = {"item_id": [100, 101, 102, 103], "created_at": [10, 11, 12, 13], "brand": [1, 2, 3, 4]}


@pytest.mark.parametrize("first", [[], [1.0, 2.0, 3.0], [NAN, 1.0], None])
def test_the_first_vector_does_not_decide(table, first):
    items = ITEMS | {"content": [first, [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}
    command = prepare(table, "parquet", ("--item-attributes", "brand"), items=items)
    if first:
        assert "items.parquet, row 1, column content: the vector" in table.refusal(*command)
    table.prepare(*command, "--on-bad-rows", "skip")
    written = pd.read_parquet(table.folder / "out" / "items.parquet").iloc[:4]
    assert [list(vector) for vector in written.content] == [[0, 0], [1, 2], [3, 4], [5, 6]]
    assert written.created_at.tolist() == [10, 11, 12, 13]
    assert written.brand.tolist() == [1, 2, 3, 4]
    assert sum(table.info["counts"]["rejected"].values()) == (1 if first else 0)


def test_the_length_of_a_vector_may_be_told(table):
    items = ITEMS | {"content": [[1.0, 2.0, 3.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0, 7.0]]}
    command = prepare(table, "parquet", items=items)
    assert "as many vectors of length 2 as of 3; say which is right with --content-dim" in table.refusal(*command)
    assert "row 2, column content: the vector's length is not 3, as --content-dim" in table.refusal(
        *command, "--content-dim", "3"
    )
    assert "content_dim (0) must be at least 1" in table.refusal(*command, "--content-dim", "0")


def test_skip_drops_what_is_wrong_in_an_item_and_keeps_the_rest(table):
    items = ITEMS | {"created_at": [10, 1 << 40, 12, 13], "brand": ["1", "2", "x", "4"]}
    table.prepare(*prepare(table, "csv", ("--item-attributes", "brand"), items=items), "--on-bad-rows", "skip")
    written = pd.read_parquet(table.folder / "out" / "items.parquet").iloc[:4]
    assert written.created_at.tolist() == [10, 1_700_000_001, 12, 13]
    assert written.brand.tolist() == [1, 2, 0, 4]
    assert table.info["counts"]["rejected"] == {"items.created_at.future": 1, "items.brand.wrong type": 1}


def test_an_item_that_never_occurs_is_as_new_as_the_end_of_all_data(table):
    items = {"item_id": [999], "created_at": [None]}
    table.prepare(*prepare(table, "csv", items=items))
    written = pd.read_parquet(table.folder / "out" / "items.parquet").set_index("item_id")
    assert written.created_at[999] == 1_700_000_020  # of the last impression
