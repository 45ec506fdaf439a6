"""The definition of the counters: windows, names, and what a spec may hold."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.model.live_counts import GRID, LiveCountsSpec, first_second, live_counts_from_json, window_seconds
from pinfm.model.schema import Feature, InputSchema, schema_from_json


def spec_of(**changes):
    return LiveCountsSpec(**{"of": ("item",), "kinds": ("impression", "click"), "windows": ("1h", "all"), **changes})


@given(time=st.integers(0, 2**33), window=st.sampled_from(["1min", "30min", "1h", "6h", "7d", "365d"]))
def test_a_window_reaches_back_its_length_and_less_than_a_twelfth_more(time, window):
    length = window_seconds(window)
    assert length <= time - first_second(time, window) < length + length // GRID


@given(time=st.integers(0, 2**33), window=st.sampled_from(["1min", "1h", "7d"]))
def test_windows_move_with_time_on_a_grid(time, window):
    assert first_second(time, window) <= first_second(time + 1, window)
    assert first_second(time, window) % (window_seconds(window) // GRID) == 0


def test_names_are_identifiers_in_the_order_of_keys_windows_and_kinds():
    spec = spec_of(of=("item", "user.shop"), kinds=("impression", "add to cart"))
    assert spec.names() == (
        "item_impression_1h",
        "item_add_to_cart_1h",
        "item_impression_all",
        "item_add_to_cart_all",
        "user_shop_impression_1h",
        "user_shop_add_to_cart_1h",
        "user_shop_impression_all",
        "user_shop_add_to_cart_all",
    )
    assert spec.attributes() == ("shop",)
    assert spec.counts_users()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": ()}, "live_counts.of is empty"),
        ({"windows": ("1h", "1h")}, "live_counts.windows names '1h' twice"),
        ({"windows": ("0h",)}, "the window '0h' is no length of time"),
        ({"windows": ("120s",)}, "the window '120s' is no length of time; write it as 30min, 6h or 7d, or as all"),
        ({"label_delay_seconds": -1}, "live_counts.label_delay_seconds .-1. must be at least 0"),
        ({"kinds": ("a b", "a_b")}, "two of the live counters would be called item_a_b_1h; rename an action"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        spec_of(**changes)


def schema_of(spec, names):
    features = tuple(Feature(name=name, kind="dense", scope="candidate") for name in names)
    return InputSchema(
        actions=("click",), positive_actions=(), surfaces=(), tasks=("click",), features=features, live_counts=spec
    )


def test_a_schema_says_its_counters_and_reads_them_back():
    spec = spec_of(rates={"click": 0.25})
    schema = schema_of(spec, spec.names())
    assert schema_from_json(json.loads(json.dumps(asdict(schema)))) == schema
    older = {name: value for name, value in asdict(schema).items() if name != "live_counts"}
    assert schema_from_json(json.loads(json.dumps(older))).live_counts is None
    assert live_counts_from_json(None) is None


def test_counters_that_are_no_features_are_refused():
    with pytest.raises(UserError, match="the counter item_click_all, which is none of the features"):
        schema_of(spec_of(), spec_of().names()[:-1])


def test_two_features_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"^schema.features names item_click_all twice; rename one of the columns\.$"):
        schema_of(spec_of(), (*spec_of().names(), "item_click_all"))


@pytest.mark.parametrize(
    "rates", [[1], {"click": "x"}, {"click": None}, {"click": -1.0}, {"view": 0.5}, {"click": True}]
)
def test_rates_that_are_none_are_refused(rates):
    with pytest.raises(UserError, match=r"^live_counts.rates has .* for '.*'; give a number from 0 on for a kind\.$"):
        spec_of(rates=rates)
