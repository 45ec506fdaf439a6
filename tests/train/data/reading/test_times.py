"""Times as people write them are read, and what only looks like Unix seconds is refused."""

from decimal import Decimal

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

SECONDS = 1_700_000_000
STAMP = pd.Timestamp("2023-11-14 22:13:20.7")


def write_csv(table, *times):
    rows = "".join(f'1,"{time}",click,{100 + n}\n' for n, time in enumerate(times))
    table.write("log.csv", f"user_id,timestamp,action,item_id\n{rows}")


def write_parquet(table, times):
    columns = {"user_id": [1] * len(times), "action": ["click"] * len(times), "item_id": list(range(len(times)))}
    pyarrow.parquet.write_table(pyarrow.table({**columns, "timestamp": times}), table.write("log.parquet", b""))


@pytest.mark.parametrize(
    "text",
    [
        *("1700000000", " 1700000000 ", "1700000000.0", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20"),
        *("2023-11-14T22:13:20.999999", "2023-11-14 22:13:20,5", "2023-11-14 23:13:20+01", "2023-11-15T03:43:20+0530"),
        *("1700000000.5", "1700000000.123", "+1700000000.999999999"),
        *("2023-11-14 14:13:20 -08:00", "2023-11-14 22:13:20 UTC", "2023-11-14 22:13:20.123456789Z"),
    ],
)
def test_a_time_in_text_is_read(table, text):
    write_csv(table, text)
    assert table.prepare("log.csv").timestamp.tolist() == [SECONDS]


def test_a_day_is_its_first_second(table):
    write_csv(table, "2023-11-14", "2023-11-15")
    assert table.prepare("log.csv").timestamp.tolist() == [1_699_920_000, 1_700_006_400]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo", "-03:00"])
def test_a_typed_time_has_no_doubtful_unit(table, unit, zone, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    write_parquet(table, pyarrow.array([STAMP.floor("s")], pyarrow.timestamp(unit, zone)))
    flags = ("--time-unit", "milliseconds") if unit == "s" else ()
    assert table.prepare("log.parquet", *flags).timestamp.tolist() == [SECONDS]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (pyarrow.array([STAMP.date()], pyarrow.date32()), 1_699_920_000),
        (pyarrow.array([float(SECONDS)]), SECONDS),
        (pyarrow.array([SECONDS + 0.999]), SECONDS),
        (pyarrow.array([Decimal("1700000000.999")]), SECONDS),
        (pyarrow.array([STAMP], pyarrow.timestamp("us")), SECONDS),
    ],
)
def test_a_typed_time_is_rounded_down(table, times, expected):
    write_parquet(table, times)
    assert table.prepare("log.parquet").timestamp.tolist() == [expected]


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("milliseconds", SECONDS * 1000 + 999),
        ("microseconds", SECONDS * 10**6 + 999_999),
        ("nanoseconds", SECONDS * 10**9 + 999_999_999),
        ("date", 20231114221320),
        ("seconds", SECONDS),
        ("milliseconds", f"{SECONDS * 1000 + 999}.875"),
        ("microseconds", f"{SECONDS * 10**6}.0"),
    ],
)
def test_a_unit_may_be_told(table, unit, value):
    write_csv(table, value)
    assert table.prepare("log.csv", "--time-unit", unit).timestamp.tolist() == [SECONDS]


@pytest.mark.parametrize(
    ("times", "match"),
    [
        (
            (20231130, 20231201),
            "row 2, column timestamp: 20231130 is a date written as a number and no Unix seconds (2",
        ),
        ((SECONDS, 20231201), "row 3, column timestamp: 20231201 is a date written as a number"),
        ((20231130120000,), "row 2, column timestamp: '20231130120000' is a date written as a number"),
        ((SECONDS * 1000,), "lies in the future (1 such row); give Unix seconds (divide milliseconds by 1000), or say"),
        ((-5,), "row 2, column timestamp: '-5' is negative"),
        (("1969-12-31",), "row 2, column timestamp: '1969-12-31' is negative"),
        (
            ("12/31/2023",),
            "row 2, column timestamp: '12/31/2023' is not a time (Unix seconds, a timestamp, or ISO",
        ),
        (("2023-02-30",), "'2023-02-30' is not a time"),
        ((f"{SECONDS}.5.5",), f"'{SECONDS}.5.5' is not a time"),
        (("-0.5",), "row 2, column timestamp: '-0.5' is negative"),
        (("true",), "'true' is not a time"),
        (("NaN",), "row 2, column timestamp: the value is missing"),
    ],
)
def test_a_time_that_is_none_is_refused(table, times, match):
    write_csv(table, *times)
    assert match in table.refusal("log.csv")


@pytest.mark.parametrize("unit", ["milliseconds", "microseconds", "nanoseconds", "seconds"])
@pytest.mark.parametrize("least", [-(1 << 63), 1 - (1 << 63)])
def test_the_least_of_all_integers_is_a_bad_row(table, unit, least):
    write_parquet(table, pyarrow.array([least, SECONDS]))
    assert f"row 1, column timestamp: '{least}' is negative" in table.refusal("log.parquet", "--time-unit", unit)


def test_the_creation_of_an_item_is_not_before_the_year_1(table):
    write_csv(table, SECONDS)
    items = str(table.write("items.csv", f"item_id,created_at\n100,{-(1 << 63)}\n"))
    said = table.refusal("log.csv", "--items", items)
    assert f"row 2, column created_at: '{-(1 << 63)}' lies before the year 1" in said


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (pyarrow.array([Decimal(SECONDS * 10**9 + 999_999_999)], pyarrow.decimal128(38, 0)), "nanoseconds"),
        (pyarrow.array([Decimal(SECONDS * 1000) + Decimal("999.9")]), "milliseconds"),
        (pyarrow.array([SECONDS * 1000 + 999.75]), "milliseconds"),
    ],
)
def test_typed_numbers_of_a_unit_are_rounded_down(table, times, unit):
    write_parquet(table, times)
    assert table.prepare("log.parquet", "--time-unit", unit).timestamp.tolist() == [SECONDS]


def test_a_float_that_lost_its_seconds_is_refused(table):
    write_parquet(table, pyarrow.array([1.7e9], pyarrow.float32()))
    assert "row 1, column timestamp: '1700000000.0' is not a time" in table.refusal("log.parquet")


def test_a_typed_time_beyond_all_is_refused(table):
    write_parquet(table, pyarrow.array([1 << 53], pyarrow.timestamp("s")))
    said = table.refusal("log.parquet")
    assert "log.parquet" in said
    assert "torn" not in said


def test_a_date_as_a_number_may_be_told(table):
    write_csv(table, 20231130, 20231201)
    assert table.prepare("log.csv", "--time-unit", "date").timestamp.diff().iloc[1] == 86400


def test_a_clock_that_begins_at_zero_is_told(table, capsys):
    write_csv(table, 0, 20231130, 30_000_000)  # no date: the second day after 1970-08-23
    assert len(table.prepare("log.csv")) == 3
    assert "all times lie in 1970" in capsys.readouterr().out
    assert any("all times lie in 1970" in note for note in table.info["notes"])


def test_a_unit_that_is_told_is_not_doubted(table):
    write_csv(table, 0, 10, 20)
    table.prepare("log.csv", "--time-unit", "seconds")
    assert not any("1970" in note for note in table.info["notes"])


def test_single_times_of_1970_are_told(table):
    write_csv(table, 0, SECONDS, SECONDS + 1)
    table.prepare("log.csv")
    assert any("1 of 3 times lies in 1970" in note for note in table.info["notes"])


def test_the_creation_of_an_item_may_lie_before_1970_or_be_unknown(table):
    write_csv(table, *range(SECONDS, SECONDS + 4))
    born = pyarrow.array([-1.0, float("nan"), SECONDS - 5.0, None])
    items = table.write("items.parquet", b"")
    pyarrow.parquet.write_table(pyarrow.table({"item_id": [100, 101, 102, 103], "created_at": born}), items)
    table.prepare("log.csv", "--items", str(items))
    written = pd.read_parquet(table.folder / "out" / "items.parquet").created_at.tolist()
    assert written == [-1, SECONDS + 1, SECONDS - 5, SECONDS + 3]
