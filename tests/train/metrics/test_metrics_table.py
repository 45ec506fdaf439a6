"""The table that people read."""

import doctest
import importlib

import pytest

from pinfm.train.metrics import REQUEST_METRICS, metrics_notes, metrics_table, table

REPORT = {
    "fused": {"click": {"auc": 0.74756, "logloss": 10.5, "hit3": 1.0, "by_age": {}}},
    "popularity": {"click": {"auc": 0.5, "logloss": float("nan")}, "like": {"hit3": None}},
}


def test_rankers_of_a_task_stand_under_each_other_in_aligned_columns(monkeypatch):
    monkeypatch.setattr(table, "METRIC_COLUMNS", ("auc", "logloss", "hit3"))
    assert metrics_table(REPORT).split("\n") == [
        "task   ranker         auc  logloss    hit3",
        "-----  ----------  ------  -------  ------",
        "click  fused       0.7476  10.5000  1.0000",
        "click  popularity  0.5000        -       -",
        "like   popularity       -        -       -",
    ]


def test_the_columns_are_those_that_the_list_shows():
    shown = [name for metric in REQUEST_METRICS for name in metric.shown]
    assert metrics_table({}).split("\n")[0].split() == ["task", "ranker", *shown]
    assert len(metrics_table({}).split("\n")) == 2


def test_hit3_of_lists_that_none_can_miss_is_called_so_once_a_task():
    easy = {"requests_contested": 1200, "requests_hard": 500, "hit3_hard": 0.5, "mrr": 0.4, "request_auc": None}
    hard = {"requests_contested": 1200, "requests_hard": 900}
    tasks = {"click": easy, "like": hard, "hide": {"requests_contested": 0}}
    (note,) = metrics_notes({"model": tasks, "popularity": tasks})
    assert note == (
        "click: 700 of 1,200 requests with a positive hold two or three candidates, which hit3 counts as found by any "
        "ranker; read hit3_hard and mrr."
    )
    (note,) = metrics_notes({"model": {"click": {"requests_contested": 3, "requests_hard": 0, "hit3": 1.0}}})
    assert note.startswith("click: 3 of 3 requests with a positive")
    assert note.endswith("; read auc.")


def test_an_entropy_above_that_of_a_constant_is_named():
    report = {"model": {"click": {"ne": 1.03}, "like": {"ne": 1.0}}, "freshest": {"click": {"ne": None}}}
    (note,) = metrics_notes({**report, "popularity": {"click": {"ne": 1.2}}})
    assert note.startswith(
        "click, model: ne 1.0300 is above 1, so the mean rate for every candidate would predict better; train longer"
    )


def test_requests_of_one_candidate_are_counted_once_for_all_tasks():
    of = {"requests": 5000, "requests_single": 1200}
    (note,) = metrics_notes({"model": {"click": of, "like": of}, "popularity": {"click": of, "like": of}})
    assert note.startswith("1,200 of 5,000 requests are of one candidate, which ranks nothing: hit3, mrr and request_")
    assert metrics_notes({"model": {"click": {"requests": 5000, "requests_single": 0}}}) == []


def test_a_grouped_auc_is_explained_once_where_histories_are_read():
    tasks = {"click": {"auc": 0.6, "gauc": 0.43}, "like": {"auc": 0.6, "gauc": 0.5}, "hide": {"auc": 0.4, "gauc": 0.1}}
    report = {"model": {**tasks, "save": {"auc": 0.6, "gauc": None}}, "popularity": {"save": {"gauc": 0.3}}}
    assert metrics_notes(report) == []
    (note,) = metrics_notes(report, ["model"])
    assert note.startswith("gauc compares a user's requests with each other, and what a ranker reads of a history is ")
    assert "even below one half (click 0.4300, hide 0.1000), while" in note
    (note,) = metrics_notes({"model": {"like": tasks["like"]}}, ["model"])
    assert "even below one half, while the ranker gets better; read auc and request_auc" in note
    assert metrics_notes({"model": {"like": {"gauc": None}}}, ["model"]) == []


@pytest.mark.parametrize("name", ["report", "retrieval", "table", "ties"])
def test_the_examples_in_the_docstrings_run(name):
    # By module name: collected from the file, `train.metrics` would be another package than `pinfm.train.metrics`.
    results = doctest.testmod(importlib.import_module(f"pinfm.train.metrics.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_a_model_that_loses_to_the_last_hour_is_told_what_it_lacks():
    report = {"model": {"click": {"auc": 0.55}}, "popularity": {"click": {"auc": 0.6}}}
    assert metrics_notes(report) == []
    report |= {"last_hour": {"click": {"auc": 0.7}}, "freshest": {"click": {"auc": 0.58}}}
    (note,) = metrics_notes(report)
    assert note.startswith("click: last_hour alone has an AUC of 0.7000, the model 0.5500: it lacks what is happening")
    assert metrics_notes({**report, "model": {"click": {"auc": 0.71}}}) == []
    assert metrics_notes({**report, "model": {"click": {"auc": None}}}) == []
