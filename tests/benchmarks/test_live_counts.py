"""The benchmark of live counters: which rows a data set has, and a table with rows that were not trained."""

import pytest

from benchmarks import live_counts


def figures(**changed):
    values = {"auc": 0.7, "request_auc": 0.6, "hit3": 0.5, "ne": 0.9} | changed
    nothing = dict.fromkeys(values)
    return {"click": {**values, "by_age": {"<7d": values, ">=28d": nothing}}}


def test_a_score_that_is_no_probability_has_no_entropy():
    results = {"freshest": {0: figures(ne=None)}, "no_tower": {0: figures(auc=0.5), 1: figures(auc=0.6)}}
    lines = live_counts.as_tables(results).splitlines()
    assert lines[2] == "| click: ranker | AUC | request AUC | HIT@3 | NE | AUC, <7d |"
    assert lines[4] == "| the youngest item first | 0.7000 | 0.6000 | 0.5000 |  | 0.7000 |"
    assert lines[5].startswith("| no tower | 0.5500 ± ")


def test_attributes_are_counted_of_news_alone():
    names = {row.name for row in live_counts.rows_of("news")}
    assert {"no_tower", "no_tower_item", "no_tower_all", "tower", "tower_all"} <= names
    assert names - {row.name for row in live_counts.rows_of("kuairand")} == {"no_tower_all", "tower_all"}


@pytest.mark.parametrize("dataset", live_counts.TASKS)
def test_every_row_has_a_dataset(dataset):
    assert {row.group for row in live_counts.rows_of(dataset)} <= live_counts.COUNTED.keys()
    assert live_counts.RECIPES.keys() == live_counts.TASKS.keys()
