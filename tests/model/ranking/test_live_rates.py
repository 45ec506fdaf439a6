"""Rates of the counters that a request brings, against a plain loop."""

import math

import pytest
import torch

from pinfm.model.live_counts import LiveCountsSpec
from pinfm.model.ranking.live_rates import PRIOR_IMPRESSIONS, NoLiveRates, build_live_rates, rate_features
from pinfm.model.schema import Feature, InputSchema


def schema_of(kinds, rates):
    spec = LiveCountsSpec(of=("item", "shop"), kinds=kinds, windows=("1h", "all"), rates=rates)
    # A feature of the log's own stands before the counters.
    features = tuple(Feature(name=name, kind="dense", scope="candidate") for name in ("price", *spec.names()))
    return InputSchema(
        actions=("click", "save"), positive_actions=(), surfaces=(), tasks=("t",), features=features, live_counts=spec
    )


def test_rates_are_smoothed_towards_the_overall_rate_of_their_kind():
    schema = schema_of(("click", "impression", "save"), {"click": 0.2, "save": 0.01})
    columns = [feature.name for feature in schema.features]
    dense = torch.randint(0, 300, (5, len(columns))).float()
    found = build_live_rates(schema)(dense)
    names = [feature.name for feature in rate_features(schema)]
    assert names[:3] == ["item_click_1h_rate", "item_save_1h_rate", "item_click_all_rate"]
    assert found.shape == (5, len(names))
    for place, name in enumerate(names):
        mark = name.removesuffix("_rate")
        kind = mark.split("_")[1]
        overall = {"click": 0.2, "save": 0.01}[kind]
        shown = dense[:, columns.index(mark.replace(kind, "impression"))]
        rate = (dense[:, columns.index(mark)] + PRIOR_IMPRESSIONS * overall) / (shown + PRIOR_IMPRESSIONS)
        torch.testing.assert_close(found[:, place], (rate / overall).log())


def test_what_nobody_has_seen_has_the_overall_rate():
    schema = schema_of(("impression", "click"), {"click": 0.3})
    assert build_live_rates(schema)(torch.zeros(1, 9)).tolist() == [[0.0] * 4]


@pytest.mark.parametrize(("kinds", "rates"), [(("click",), {}), (("impression", "click"), {"click": 0.0})])
def test_without_impressions_or_marks_there_are_no_rates(kinds, rates):
    schema = schema_of(kinds, rates)
    assert isinstance(build_live_rates(schema), NoLiveRates)
    assert rate_features(schema) == ()
    assert build_live_rates(schema)(torch.ones(2, 3)).shape == (2, 0)


def test_rates_are_scripted_as_they_are():
    rates = build_live_rates(schema_of(("impression", "click"), {"click": 0.3}))
    dense = torch.randint(0, 50, (4, 9)).float()
    torch.testing.assert_close(torch.jit.script(rates)(dense), rates(dense), rtol=0, atol=0)
    assert math.isfinite(rates(dense * 0 + float(1 << 24)).abs().max())
