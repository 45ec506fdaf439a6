"""The benchmark of one encoding: what finds the items of each row, and both sides against two models."""

import json

import pytest

from benchmarks import one_encoding
from benchmarks.parts.quality.runs import Runs


def figures(auc, hr):
    return one_encoding.told_of({"click": {"auc": auc}}, {"hr@10": hr, "ndcg@10": hr / 2, "mean_rank": 3.0})


def test_two_models_find_items_by_the_pretrained_one(tmp_path):
    runs = Runs(tmp_path)
    for run, hr in {"pretrained-pretrained-3": 0.2, "joint-3": 0.1}.items():
        runs.folder(run).mkdir(parents=True)
        report = {"retrieval": {"hr@10": hr}}
        (runs.folder(run) / "test-retrieval.json").write_text(json.dumps(report))
    found = [
        one_encoding.retrieval(runs, row, 3, tmp_path, "test")["hr@10"] for row in (one_encoding.TWO_MODELS, "joint")
    ]
    assert found == [0.2, 0.1]


def test_the_mean_over_tasks_leaves_out_those_without_an_auc():
    found = one_encoding.told_of({"click": {"auc": 0.6}, "hide": {"auc": None}}, {"hr@10": 0.1, "ndcg@10": 0.05})
    assert found[one_encoding.AUC] == 0.6


def test_differences_are_of_the_same_seed():
    results = {
        one_encoding.TWO_MODELS: {0: figures(0.70, 0.10), 1: figures(0.80, 0.30)},
        "joint": {1: figures(0.81, 0.28), 2: figures(0.1, 0.9)},
    }
    _, _, alone, joint = one_encoding.as_table(results).splitlines()
    assert alone.split(" | ")[1:2] == ["0.7500 ± 0.0707"]
    assert joint.split(" | ")[-3:] == ["+0.0100", "-0.0200", "2 |"]


@pytest.mark.parametrize("name", one_encoding.DATASETS)
def test_rows_differ_in_the_loss_of_retrieval_alone(name):
    plan = one_encoding.plan_of(one_encoding.DATASETS[name], [0], "test", 1)
    for row in one_encoding.ROWS:
        assert row.pretrained in plan.pretrained
        assert all(word.startswith("--finetune.next_token") for word in row.flags[::2])
