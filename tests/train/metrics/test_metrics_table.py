"""The table that people read."""

import doctest
import importlib

import pytest

from pinfm.train.metrics import metrics_table

REPORT = {
    "fused": {"click": {"auc": 0.74756, "gauc": 0.7, "ne": 0.9, "logloss": 10.5, "hit3": 1.0, "by_age": {}}},
    "popularity": {"click": {"auc": 0.5, "ne": None, "logloss": float("nan")}, "like": {"hit3_hard": 0.25}},
}


def test_rankers_of_a_task_stand_under_each_other_in_aligned_columns():
    assert metrics_table(REPORT).split("\n") == [
        "task   ranker         auc    gauc  request_auc      ne  logloss    hit3  hit3_hard",
        "-----  ----------  ------  ------  -----------  ------  -------  ------  ---------",
        "click  fused       0.7476  0.7000            -  0.9000  10.5000  1.0000          -",
        "click  popularity  0.5000       -            -       -        -       -          -",
        "like   popularity       -       -            -       -        -       -     0.2500",
    ]


def test_an_empty_report_is_a_heading():
    assert metrics_table({}).split("\n")[0] == "task  ranker  auc  gauc  request_auc  ne  logloss  hit3  hit3_hard"
    assert len(metrics_table({}).split("\n")) == 2


@pytest.mark.parametrize("name", ["report", "retrieval", "table", "ties"])
def test_the_examples_in_the_docstrings_run(name):
    # By module name: collected from the file, `train.metrics` would be another package than `pinfm.train.metrics`.
    results = doctest.testmod(importlib.import_module(f"pinfm.train.metrics.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
