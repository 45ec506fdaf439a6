"""`pinfm latency`: random requests are valid ones, models take turns, and mistakes are told."""

import json

import pytest
import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.latency import WARM_UP, LatencyOptions, time_models, time_requests
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.random import random_inputs
from pinfm.train.cli.main import main


@pytest.mark.parametrize(("events", "candidates"), [(0, 1), (3, 7), (8, 0)])
def test_a_random_request_is_what_the_module_takes(exported, events, candidates):
    scorer = load(exported)
    scores = scorer.module(random_inputs(scorer.columns, events, candidates))
    assert {task: len(values) for task, values in scores.items()} == dict.fromkeys(scorer.tasks, candidates)


def test_an_empty_vocabulary_has_the_unknown_name_alone():
    column = Column(name="history_surface", dtype="int64", scope="history", vocabulary=())
    assert random_inputs([column], 3, 1)["history_surface"].tolist() == [0, 0, 0]


def test_ids_are_new_each_time(exported):
    columns = load(exported).columns
    first, second = (random_inputs(columns, 4, 4)["candidate_item_id"] for _ in range(2))
    assert not torch.isin(first, second).any()


def test_models_take_turns(exported, tmp_path):
    other = tmp_path / "other"
    other.symlink_to(exported)
    found = time_models([exported, other], LatencyOptions(candidates=5, requests=4, rounds=2))
    assert list(found) == [str(exported), str(other)]
    for row in found.values():
        assert len(row["rounds_p50_ms"]) == 2
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["candidates_per_s"] > 0


def test_the_first_requests_are_not_timed(exported, monkeypatch):
    scorer, asked = load(exported), []
    monkeypatch.setattr("pinfm.inference.latency.random_inputs", lambda *_: asked.append(1) or REQUEST)
    REQUEST = random_inputs(scorer.columns, 2, 3)
    assert len(time_requests(scorer, LatencyOptions(candidates=3), 4)) == 4
    assert len(asked) == 4 + WARM_UP


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"candidates": 0}, r"candidates \(0\) must be at least 1"),
        ({"history": -1}, r"history \(-1\) must be at least 0"),
        ({"requests": 2, "rounds": 3}, r"requests \(2\) must be at least rounds \(3\)"),
    ],
)
def test_what_cannot_be_timed_is_refused(options, told):
    with pytest.raises(UserError, match=told):
        LatencyOptions(**options)


def test_a_longer_history_than_the_model_reads_is_refused(exported):
    with pytest.raises(UserError, match="reads 8 events of a history, not 9"):
        time_models([exported], LatencyOptions(history=9))


def test_the_verb_prints_and_reports(exported, tmp_path, capsys):
    report, threads = tmp_path / "report.json", torch.get_num_threads()
    flags = ["--candidates", "5", "--requests", "5", "--threads", "1", "--report", str(report)]
    assert main(["latency", str(exported), *flags]) == 0
    assert f"{exported}: p50 " in capsys.readouterr().out
    values = json.loads(report.read_text())
    assert values["models"][str(exported)]["p50_ms"] > 0
    assert (values["candidates"], values["threads"]) == (5, 1)
    torch.set_num_threads(threads)


def test_a_folder_that_is_no_model_is_refused(dataset, capsys):
    assert main(["latency", str(dataset)]) == 2
    assert "is not a model folder" in capsys.readouterr().err
