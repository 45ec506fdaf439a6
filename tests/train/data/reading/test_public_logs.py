"""What public logs lack: a surface, an action, a time of creation."""

import json
from argparse import ArgumentTypeError

import pandas as pd
import pytest

from pinfm.train.cli.flags.words import name_list

EVENTS = "user_id,timestamp,action,item_id\n1,1700000000,click,7\n1,1700000001,click,8\n"


def test_a_log_without_surfaces(table, capsys):
    table.write("log.csv", EVENTS)
    assert table.prepare("log.csv").surface.isna().all()
    assert "has no column surface: all of its surfaces are unknown (0)" in capsys.readouterr().out
    assert table.info["schema"]["surfaces"] == []


def test_a_surface_that_is_named_must_be_there(table):
    table.write("log.csv", EVENTS)
    assert "log.csv has no column place; it has user_id" in table.refusal("log.csv", "--columns.surface", "place")


def test_what_serves_a_log_without_times_or_actions_is_told(table):
    table.write("order.csv", "user_id,item_id,action\n1,7,click\n")
    assert "order.csv has no column timestamp; it has user_id, item_id, action" in table.refusal("order.csv")
    assert "or give --order-only file or --order-only user" in table.refusal("order.csv")
    table.write("views.csv", "user_id,item_id,timestamp\n1,7,1700000000\n")
    assert "views.csv has no column action" in table.refusal("views.csv")
    assert "or give --action click if all events are of one kind" in table.refusal("views.csv")


@pytest.mark.parametrize("action", ["view", "1", "on", "null"])
def test_one_action_for_all(table, action):
    table.write("log.csv", EVENTS.replace("action", "rating").replace("click", "5"))
    assert set(table.prepare("log.csv", "--action", action).action) == {action}


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (("--action", "view", "--actions", "view"), "--action and --actions are both given"),
        (("--action", "view", "--positive-actions", "like"), "positive_actions names like, which is not among actions"),
        (("--actions", "[]"), "actions is empty"),
        (("--actions", "[click"), "'[click' is no list of names: a bracket is missing"),
        (("--actions", "click,,save"), "'click,,save' is no list of names near ',save'"),
    ],
)
def test_actions_that_are_none_are_refused(table, flags, match):
    table.write("log.csv", EVENTS)
    assert match in table.refusal("log.csv", *flags)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("click", ["click"]),
        ("[click]", ["click"]),
        ("click,save", ["click", "save"]),
        ("[1, 2]", ["1", "2"]),
        ("1,2.0", ["1", "2.0"]),
        ("[on, off]", ["on", "off"]),
        ("['on', \"off\"]", ["on", "off"]),
        (
            "[yes, no, null, ~, true, 2023-01-01, 1e3, 0x1]",
            ["yes", "no", "null", "~", "true", "2023-01-01", "1e3", "0x1"],
        ),
        ("['a, b', c]", ["a, b", "c"]),
        ("add to cart, buy", ["add to cart", "buy"]),
        ("{x}", None),
        ("a,", None),
        ("'a", None),
        ("[]", []),
        (" ", []),
    ],
)
def test_a_list_of_names_is_taken_as_it_is_written(text, names):
    if names is None:
        with pytest.raises(ArgumentTypeError, match="is no list of names"):
            name_list(text)
    else:
        assert name_list(text) == names


def test_items_without_a_time_of_creation(table):
    table.write("log.csv", EVENTS)
    items = table.write("items.csv", "item_id,brand\n7,3\n")
    table.prepare("log.csv", "--items", str(items), "--item-attributes", "brand")
    assert pd.read_parquet(table.folder / "out" / "items.parquet").created_at.tolist() == [1_700_000_000, 1_700_000_001]
    assert any("has no column created_at" in note for note in json.dumps(table.info["notes"]).split('", "'))


ORDERED = "user_id,item_id\n1,10\n2,20\n1,11\n2,21\n1,12\n"


def test_the_order_of_a_file_is_its_time(table):
    table.write("log.csv", ORDERED)
    events = table.prepare("log.csv", "--action", "view", "--order-only", "file").sort_values("timestamp")
    assert events.item_id.tolist() == [10, 20, 11, 21, 12]
    assert events.timestamp.tolist() == [0, 1, 2, 3, 4]
    assert any("an order and no times" in note for note in table.info["notes"])
    assert not any("1970" in note for note in table.info["notes"])


def test_the_order_of_each_user_is_its_time(table):
    table.write("log/part-0.csv", ORDERED)
    table.write("log/part-1.csv", "user_id,item_id,timestamp\n3,30,x\n")
    items = table.write("items.csv", "item_id,created_at\n10,1700000000\n99,1700000000\n")
    events = table.prepare("log", "--action", "view", "--order-only", "user", "--items", str(items))
    times = events.groupby("user_id").timestamp.apply(list).to_dict()
    assert times == {1: [3, 4, 5], 2: [4, 5], 3: [5]}
    assert events.item_id.tolist() == [10, 11, 12, 20, 21, 30]
    created = pd.read_parquet(table.folder / "out" / "items.parquet").set_index("item_id").created_at
    assert (created[10], created[99]) == (3, 5)


def test_an_order_goes_without_times(table):
    table.write("log.csv", ORDERED)
    flags = ("--action", "view", "--order-only", "file")
    assert "order_only leaves no times" in table.refusal("log.csv", *flags, "--time-unit", "seconds")
    assert "order_only leaves no times" in table.refusal("log.csv", *flags, "--validation-start", "2024-01-01")
