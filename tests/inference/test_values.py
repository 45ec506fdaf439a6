"""Values of requests as pandas, Parquet and JSON give them: one meaning, whatever type carries it."""

import hashlib
import re
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
import written_values

from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.ids import text_id, whole_number
from pinfm.inference.requests.values import as_array, convert, joined

NUMBERED = Column(name="history_surface", dtype="int64", scope="history", vocabulary=("0", "1", "2"), numbered=True)
NAMED = Column(name="history_surface", dtype="int64", scope="history", vocabulary=("0", "home"))
TIME = Column(name="request_timestamp", dtype="int64", scope="request")
SHOP = Column(name="shop", dtype="int64", scope="request")
PRICE = Column(name="price", dtype="float32", scope="request")


def converted(values, column):
    """A list of one request, or a pandas column."""
    return convert(joined([as_array(values)], column), column, np.zeros(len(values), np.int64)).tolist()


@pytest.mark.parametrize(
    "surfaces",
    [
        [0, 1, 2, 7],
        [0.0, 1.0, 2.0, 7.0],
        ["0", "1.0", " 2 ", "7"],
        ["0", 1, 2.0, "home"],
        [-0.0, Decimal("1.0"), np.int8(2), None],
        [np.uint64(0), np.float32(1), "2.", float("nan")],
        pd.Series([0, 1, 2, None], dtype="Int64"),
        pd.Series([0, 1, 2, None], dtype="float64"),
        pd.Series(["0", "1", "2", None], dtype="string"),
        pd.Series(["0", "1", "2", "02"], dtype="category"),
    ],
)
def test_a_numbered_surface_has_one_code_however_it_is_spelled(surfaces):
    assert converted(surfaces, NUMBERED) == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("surfaces", "codes"),
    [(["home", "0", None, "x"], [2, 1, 0, 0]), ([2, 1, 0], [2, 1, 0]), ([None, float("nan"), pd.NA], [0, 0, 0])],
)
def test_where_names_are_no_numbers_numbers_are_codes(surfaces, codes):
    assert converted(surfaces, NAMED) == codes


@pytest.mark.parametrize(
    ("values", "column", "sentence"),
    [
        ([0, 1.5], NUMBERED, "holds a number that is not whole"),
        ([b"1", 1], NUMBERED, "holds a number that is not whole"),
        ([1.0, float("nan")], NAMED, "holds floats; give names, or codes as integers"),
        (["home", 1], NAMED, "mixes names and codes"),
        (["x"], SHOP, "holds a missing value, or no whole number"),
        ([datetime(2024, 1, 1)], SHOP, "holds a missing value, or no whole number"),
        ([None], TIME, "holds a missing value or something that is no time"),
        (np.array([1.7e9], np.float32), TIME, "holds a missing value, a fraction, or a float too large to be exact"),
        (["noon"], TIME, "holds a missing value or something that is no time"),
        ([None, 1.0], PRICE, "holds a missing value or something that is no number"),
        (["1.5"], PRICE, "holds a missing value or something that is no number"),
        (pd.Series(pd.to_datetime(["2024-01-01"])), PRICE, "has datetime64.* values, but needs float32"),
        (pd.Series([2**63], dtype="uint64"), SHOP, "holds a missing value, or no whole number from"),
    ],
)
def test_what_means_nothing_is_refused(values, column, sentence):
    with pytest.raises(ValueError, match=f"{column.name}'? {sentence}"):
        converted(values, column)


@pytest.mark.parametrize(
    "times",
    [
        [1_700_000_000],
        [1_700_000_000.0],
        [1_700_000_000.75],
        [Decimal("1700000000.75")],
        ["1700000000"],
        ["2023-11-14T22:13:20Z"],
        ["2023-11-14 22:13:20"],
        ["2023-11-15T00:13:20.5+02:00"],
        [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)],
        pd.Series(pd.to_datetime(["2023-11-14 22:13:20"])),
        pd.Series(pd.to_datetime(["2023-11-14 22:13:20"])).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
    ],
)
def test_a_typed_time_is_its_seconds(times):
    assert converted(times, TIME) == [1_700_000_000]


@pytest.mark.parametrize(("text", "expected"), written_values.TIMES.items())
def test_times_of_requests_are_those_of_a_log(text, expected):
    assert converted([text], TIME) == [expected]


@pytest.mark.parametrize("text", written_values.NO_TIMES)
def test_what_is_no_time_in_a_log_is_none_in_requests(text):
    with pytest.raises(ValueError, match="row 0: request_timestamp holds a missing value or something that is no time"):
        converted([text], TIME)


@pytest.mark.parametrize(("text", "expected"), [*written_values.CATEGORIES.items(), ("", 0), ("nan", 0), ("NaN", 0)])
def test_categories_of_requests_are_those_of_a_log(text, expected):
    assert converted([text], SHOP) == [expected]


@pytest.mark.parametrize("text", written_values.NO_CATEGORIES)
def test_what_is_no_category_in_a_log_is_none_in_requests(text):
    with pytest.raises(ValueError, match="row 0: shop holds a missing value, or no whole number"):
        converted([text], SHOP)


@pytest.mark.parametrize("days", [[date(2023, 11, 14)], pyarrow.array([date(2023, 11, 14)]).to_pandas()])
def test_a_day_is_its_first_second(days):
    assert converted(days, TIME) == [1_699_920_000]


def test_a_missing_category_is_zero_and_flags_are_numbers():
    assert converted([3.0, float("nan"), 4.0], SHOP) == [3, 0, 4]
    assert converted(pd.Series([2**60 + 1, None], dtype="Int64"), SHOP) == [2**60 + 1, 0]
    assert converted(pd.array([2**60 + 1, None], dtype="Int64"), SHOP) == [2**60 + 1, 0]
    assert converted([True, False], PRICE) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("ids", "values", "expected"),
    [
        ("int64", [7, "7", 7.0, " 7", "7.00", Decimal(7)], [7] * 6),
        ("int64", [-1, 2**63 - 1, "-9223372036854775808"], [-1, 2**63 - 1, -(2**63)]),
        ("uint64", [2**64 - 1, 2**63, "18446744073709551614", 5], [-1, -(2**63), -2, 5]),
        ("text", ["B00X", " B00X ", "0012", "12"], [text_id("B00X")] * 2 + [-7292529013824584575, 8886165682169645610]),
        ("text", [uuid.UUID(int=5)], [text_id("00000000-0000-0000-0000-000000000005")]),
    ],
)
def test_an_id_is_the_same_int64_in_every_spelling(ids, values, expected):
    column = Column(name="candidate_item_id", dtype="int64", scope="candidate", ids=ids)
    assert converted(values, column) == expected


@pytest.mark.parametrize(
    ("ids", "value"),
    [
        *(("int64", value) for value in ("007", "+7", "1e3", "7.5", 7.5, 2.0**53, 2**63, None, "", "x", float("inf"))),
        *(("uint64", value) for value in (-1, "-1", 2**64, 7.5, None)),
        *(("text", value) for value in ("", "  ", 12, 12.0, None, float("nan"), pd.NA)),
    ],
)
def test_what_is_no_id_of_its_kind_is_refused(ids, value):
    column = Column(name="user_id", dtype="int64", scope="request", ids=ids)
    with pytest.raises(ValueError, match="row 0: user_id holds"):
        converted([value], column)


@pytest.mark.parametrize("text", ["\u00a0B00X", "B00X\u3000", "\u2003", "\tB00X\n"])
def test_only_plain_spaces_around_a_text_id_are_none_of_it(text):
    expected = int.from_bytes(hashlib.sha1(text.encode()).digest()[:8], "big", signed=True)
    assert text_id(f" {text} ") == expected


def test_columns_of_an_older_signature_are_told_by_their_names():
    older = {"name": "history_surface", "dtype": "int64", "scope": "history", "vocabulary": ["0", "2"], "width": None}
    assert Column.from_json(older).numbered
    assert not Column.from_json({**older, "vocabulary": ["0", "02"]}).numbered
    assert Column.from_json({**older, "name": "user_id", "vocabulary": None}).ids == "int64"


@pytest.mark.parametrize(
    "value", ["007", "1_0", "0x1", "1e0", "+1", "--1", "1.5", "", "1.0.0", "1" * 16 + ".0", "9" * 5000, b"1", []]
)
def test_what_spells_no_number(value):
    assert whole_number(value) is None


def test_the_vectors_of_the_page_are_true():
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(\S+)`.* \| (-?\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    assert [text_id(text) for text, _ in rows] == [int(number) for _, number in rows]
