"""Times as people write them are read, and what only looks like Unix seconds is refused."""

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
        ((f"{SECONDS}.5",), f"'{SECONDS}.5' is not a time"),
        (("true",), "'true' is not a time"),
        (("NaN",), "row 2, column timestamp: the value is missing"),
    ],
)
def test_a_time_that_is_none_is_refused(table, times, match):
    write_csv(table, *times)
    assert match in table.refusal("log.csv")


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
