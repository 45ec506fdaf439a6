"""Splits that begin at a minute, through the command line."""

import pytest

ROWS = "user_id,timestamp,action,item_id\n" + "".join(
    f"{user},2020-09-13T{hour:02}:30:00Z,click,{100 + hour}\n" for hour in range(10, 20) for user in (1, 2)
)
NOON = 1_599_998_400  # 2020-09-13T12:00Z


@pytest.mark.parametrize(
    ("validation", "test", "starts"),
    [
        ("2020-09-13T14:00", "2020-09-13T16:30", (NOON + 7200, NOON + 16200)),
        ("2020-09-13 14:00", "2020-09-13 14:00:01", (NOON + 7200, NOON + 7201)),
        ("2020-09-13T14:00+02:00", "2020-09-13T18:00Z", (NOON, NOON + 21600)),
        ("2020-09-13T14:00", "2020-09-14", (NOON + 7200, NOON + 43200)),  # a day is one of UTC
    ],
)
def test_a_split_begins_at_the_minute_that_is_given(table, validation, test, starts):
    table.write("log.csv", ROWS)
    table.prepare("log.csv", "--validation-start", validation, "--test-start", test)
    assert (table.info["splits"]["validation"][0], table.info["splits"]["test"][0]) == starts


@pytest.mark.parametrize("wrong", ["2020-09-13T14", "2020-09-13T14:60", "13.09.2020", "2020-02-30", "1599998400"])
def test_what_is_no_time_is_one_sentence(table, wrong):
    table.write("log.csv", ROWS)
    assert f"validation_start ({wrong}) is no date or time" in table.refusal("log.csv", "--validation-start", wrong)
