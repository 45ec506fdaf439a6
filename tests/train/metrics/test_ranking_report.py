"""`ranking_metrics`: slices, nulls, both kinds of array, and each mistake it names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.model.item_ages import PAPER_THRESHOLDS, AgeThresholds
from pinfm.train.metrics import (
    REQUEST_METRICS,
    TaskRows,
    age_slices,
    auc,
    entropy_metrics,
    grouped_auc,
    item_age_seconds,
    ranking_metrics,
)
from pinfm.train.metrics.hits import hit_metrics
from pinfm.train.metrics.inputs import Impressions, check_impressions
from pinfm.train.metrics.table import METRIC_COLUMNS

ROWS, DAY = 400, 86_400
PAGE = Path(__file__).parents[3] / "docs" / "results.md"
NAMES = [name for metric in REQUEST_METRICS for name in metric.told]


@pytest.fixture
def world():
    """One task over 40 users and 100 requests; a tenth of the ages is unknown."""
    random = np.random.default_rng(0)
    request = random.integers(0, 100, ROWS)
    age = random.integers(-DAY, 60 * DAY, ROWS).astype(float)
    age[::10] = np.nan
    return {
        "probabilities": {"click": random.random(ROWS).round(1)},
        "labels": {"click": random.random(ROWS) < 0.4},
        "user_id": request % 40,
        "request_index": request,
        "age_seconds": age,
        "unseen": random.random(ROWS) < 0.2,
    }


def shared(world):
    """The columns that the tasks share."""
    columns = (world[name] for name in ("user_id", "request_index", "age_seconds", "unseen"))
    return check_impressions(*columns, torch.device("cpu"))


def test_scores_that_are_no_probabilities_are_judged_by_their_order_alone(world):
    order = {"probabilities": {"click": 1000 * world["probabilities"]["click"] - 500}}
    order["probabilities"]["click"][world["probabilities"]["click"] == 0] = -np.inf
    ours = ranking_metrics(**{**world, **order}, are_probabilities=False)["click"]
    expected = ranking_metrics(**world)["click"]
    assert ours["ne"] is ours["logloss"] is ours["calibration"] is ours["by_age"]["<7d"]["ne"] is None
    assert expected["ne"] is not None
    same = [name for name in NAMES if name not in ("ne", "logloss", "calibration")]
    assert {name: ours[name] for name in same} == {name: expected[name] for name in same}
    with pytest.raises(ValueError, match="the score in row 0 is NaN, which has no place in an order"):
        ranking_metrics(**{**world, "probabilities": {"click": np.full(ROWS, np.nan)}}, are_probabilities=False)


def test_a_report_has_the_metrics_of_the_list_and_no_others(world):
    report = ranking_metrics(**world)["click"]
    assert list(report) == [*NAMES, "impressions_age_unknown", "by_age"]
    assert all(list(part) == NAMES for part in report["by_age"].values())
    assert len(set(NAMES)) == len(NAMES)


def test_the_docs_table_is_that_of_the_list():
    lines = PAGE.read_text().split("<!-- metrics -->\n")[1].split("<!-- end of metrics -->")[0].splitlines()
    told = [f"| `{name}` | {text} |" for metric in REQUEST_METRICS for name, text in metric.told.items()]
    assert lines == ["| in a report | what it is |", "| --- | --- |", *told]


def test_what_has_a_column_is_measured():
    assert all(set(metric.shown) <= set(metric.told) for metric in REQUEST_METRICS)
    assert METRIC_COLUMNS


@pytest.mark.parametrize("metric", REQUEST_METRICS, ids=lambda metric: next(iter(metric.told)))
def test_no_metric_depends_on_the_order_of_the_rows_or_writes_into_them(world, metric):
    p, y, rows = (
        torch.as_tensor(world["probabilities"]["click"]),
        torch.as_tensor(world["labels"]["click"]),
        shared(world),
    )
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    moved = Impressions(**{name: column[order] for name, column in vars(rows).items()})
    whole = TaskRows(p, y, rows).everything()
    before = whole.p_S.clone()
    values = metric.measure(whole)
    assert values == pytest.approx(metric.measure(TaskRows(p[order], y[order], moved).everything()), abs=1e-12)
    assert set(metric.told) <= set(values)
    assert torch.equal(whole.p_S, before)


def test_each_slice_holds_the_metrics_of_its_rows(world):
    report = ranking_metrics(**world)["click"]
    p, y = world["probabilities"]["click"], world["labels"]["click"]
    age, unseen = world["age_seconds"], world["unseen"]
    days = age // DAY
    masks = {"<7d": days < 7, "7-28d": (days >= 7) & (days < 28), "<28d": days < 28, ">=28d": days >= 28}
    masks["unseen"] = unseen
    assert list(report["by_age"]) == list(masks)
    for name, mask in masks.items():
        p_S, y_S = torch.as_tensor(p[mask]), torch.as_tensor(y[mask])
        got = report["by_age"][name]
        assert got["impressions"] == mask.sum() > 0
        assert got["positives"] == y[mask].sum()
        assert got["auc"] == auc(p_S, y_S)
        assert got["logloss"] == entropy_metrics(p_S, y_S)["logloss"]
        assert got["calibration"] == pytest.approx(float(p_S.sum()) / int(y_S.sum()))
        assert got["requests"] == len(np.unique(world["request_index"][mask]))
        hits = hit_metrics(TaskRows(torch.as_tensor(p), torch.as_tensor(y), shared(world)).cut(torch.as_tensor(mask)))
        assert {name: got[name] for name in hits} == hits
        for name, groups in (("gauc", "user_id"), ("request_auc", "request_index")):
            assert got[name] == grouped_auc(p_S, y_S, torch.as_tensor(world[groups][mask]))["gauc"]


def test_every_impression_is_in_one_age_or_counted_as_unknown(world):
    report = ranking_metrics(**world)["click"]
    aged = sum(report["by_age"][name]["impressions"] for name in ("<7d", "7-28d", ">=28d"))
    assert report["impressions_age_unknown"] == ROWS // 10
    assert aged + report["impressions_age_unknown"] == report["impressions"] == ROWS


@given(st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)).filter(lambda pair: pair[0] < pair[1]), st.data())
def test_slices_partition_the_rows_of_known_age_whatever_the_thresholds(seconds, data):
    near = [second + step for second in seconds for step in (-1, 0, 1)]
    ages = data.draw(st.lists(st.one_of(st.sampled_from(near), st.integers(-(10**8), 10**8), st.none())))
    age_N = torch.tensor([np.nan if age is None else age for age in ages], dtype=torch.float64)
    slices = age_slices(age_N, torch.zeros(len(ages), dtype=torch.bool), AgeThresholds(*seconds))
    young, middle, both, old, unseen = slices.values()
    assert (young.int() + middle.int() + old.int()).tolist() == [int(age is not None) for age in ages]
    assert torch.equal(both, young | middle)
    assert young.tolist() == [age is not None and age < seconds[0] for age in ages]
    assert old.tolist() == [age is not None and age >= seconds[1] for age in ages]
    assert not unseen.any()


def test_a_report_names_its_slices_after_the_thresholds(world):
    world["age_seconds"] = world["age_seconds"] / 24
    report = ranking_metrics(**world, thresholds=AgeThresholds(3600, 4 * 3600))["click"]
    assert list(report["by_age"]) == ["<1h", "1-4h", "<4h", ">=4h", "unseen"]
    assert report["by_age"]["<1h"]["impressions"] == (world["age_seconds"] < 3600).sum()


def test_tensors_and_arrays_give_the_same_report(world):
    as_tensors = {name: torch.as_tensor(value) for name, value in world.items() if not isinstance(value, dict)}
    for name in ("probabilities", "labels"):
        as_tensors[name] = {"click": torch.as_tensor(world[name]["click"])}
    assert ranking_metrics(**as_tensors) == ranking_metrics(**world)


def test_half_precision_is_judged_as_the_values_it_holds(world):
    half = torch.as_tensor(world["probabilities"]["click"]).bfloat16()
    got = ranking_metrics(**{**world, "probabilities": {"click": half}})
    assert got == ranking_metrics(**{**world, "probabilities": {"click": half.float()}})


def test_an_empty_slice_is_null_and_json_accepts_it(world):
    world["unseen"] = np.zeros(ROWS, dtype=bool)
    report = ranking_metrics(**world)
    empty = report["click"]["by_age"]["unseen"]
    assert empty["impressions"] == empty["requests"] == empty["gauc_users"] == 0
    assert all(value is None or value == 0 for value in empty.values())
    assert [empty[name] for name in METRIC_COLUMNS] == [None] * len(METRIC_COLUMNS)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_no_rows_at_all_is_a_report_of_nulls():
    none = np.empty(0)
    report = ranking_metrics({"like": none}, {"like": none}, none, none, none, none)["like"]
    assert (report["impressions"], report["auc"], report["hit3"]) == (0, None, None)


def test_one_request_of_one_class(world):
    world = {name: value if isinstance(value, dict) else value[:3] for name, value in world.items()}
    world["request_index"][:] = 7
    labels, scores = np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3])
    report = ranking_metrics(**{**world, "labels": {"click": labels}, "probabilities": {"click": scores}})["click"]
    assert (report["auc"], report["ne"], report["hit3"], report["hit3_all"]) == (None, None, None, 0.0)
    assert (report["requests"], report["requests_positive"]) == (1, 0)
    assert report["logloss"] > 0


def test_the_edges_belong_to_the_older_slice_on_every_device(device):
    now, unknown = 1_650_000_000, float("nan")
    ages = torch.tensor([-1.0, 7 * DAY - 1, 7 * DAY, 28 * DAY - 1, 28 * DAY, unknown], dtype=torch.float64)
    age_N = item_age_seconds(torch.full([6], now, device=device), now - ages)
    slices = age_slices(age_N, torch.zeros(6, dtype=torch.bool, device=device), PAPER_THRESHOLDS)
    members = {name: mask.nonzero().flatten().tolist() for name, mask in slices.items()}
    assert members == {"<7d": [0, 1], "7-28d": [2, 3], "<28d": [0, 1, 2, 3], ">=28d": [4], "unseen": []}


def test_age_is_in_seconds_at_the_time_of_the_request():
    requested, created = np.array([1_650_000_000, 1_650_000_000]), np.array([1_650_000_000 - 129_600, np.nan])
    assert item_age_seconds(requested, created).tolist() == pytest.approx([129_600, float("nan")], nan_ok=True)


@pytest.mark.parametrize(("bad", "named"), [(float("nan"), "nan"), (1.5, "1.5"), (-0.25, "-0.25")])
def test_a_probability_outside_the_unit_interval_is_named(world, bad, named):
    world["probabilities"]["click"][17] = bad
    with pytest.raises(UserError, match=rf"probabilities\['click'\] holds 1 values .* {named} in row 17"):
        ranking_metrics(**world)


def test_integer_probabilities_are_refused(world):
    world["probabilities"]["click"] = np.ones(ROWS, dtype=np.int64)
    with pytest.raises(ValueError, match=r"probabilities\['click'\] has dtype torch.int64"):
        ranking_metrics(**world)


def test_a_label_that_is_not_binary_is_named(world):
    world["labels"]["click"] = np.arange(ROWS)
    with pytest.raises(ValueError, match=r"labels\['click'\] is 2 in row 2"):
        ranking_metrics(**world)


@pytest.mark.parametrize(("probabilities", "labels"), [({}, {}), ({"click": np.ones(1)}, {"like": np.ones(1)})])
def test_tasks_must_agree(world, probabilities, labels):
    with pytest.raises(ValueError, match="must hold the same tasks, at least one"):
        ranking_metrics(**{**world, "probabilities": probabilities, "labels": labels})


@pytest.mark.parametrize("column", ["request_index", "age_seconds", "unseen"])
def test_a_short_column_is_named(world, column):
    world[column] = world[column][:-1]
    with pytest.raises(ValueError, match=rf"{column} has shape \(399,\); expected \(400,\)"):
        ranking_metrics(**world)


@pytest.mark.parametrize("column", ["probabilities", "labels"])
def test_a_short_task_is_named(world, column):
    world[column]["click"] = world[column]["click"][:-1]
    with pytest.raises(ValueError, match=rf"{column}\['click'\] has shape \(399,\)"):
        ranking_metrics(**world)
