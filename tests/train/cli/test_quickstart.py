"""The quickstart's own work: folders, the second process, the report. `.ci/run` takes the whole road."""

import json
from types import SimpleNamespace

import pytest
import torch

from pinfm.embeddings.errors import UserError
from pinfm.train.cli import quickstart
from pinfm.train.cli.quickstart import Stages


@pytest.fixture
def out(tmp_path):
    for folder in ("reports", "logs"):
        (tmp_path / "out" / folder).mkdir(parents=True)
    return tmp_path / "out"


def test_a_stage_is_a_command_with_its_log_report_and_seconds(out, tmp_path, capsys):
    stages = Stages(out)
    stages.run("prepare", ["prepare", "simulate", "--num-users", "20", "--out", str(tmp_path / "data")])
    assert capsys.readouterr().out == f"$ pinfm prepare simulate --num-users 20 --out {tmp_path / 'data'}\n"
    assert stages.report("prepare")["source"] == "simulate"
    assert "buckets" in (out / "logs" / "prepare.txt").read_text()
    assert stages.seconds["prepare"] > 0


@pytest.mark.dist
def test_a_second_process_works_meanwhile(out, tmp_path):
    stages = Stages(out)
    small = ["prepare", "simulate", "--num-users", "20", "--out"]
    threads = torch.get_num_threads()
    with stages.meanwhile({"other": [*small, str(tmp_path / "other")]}):
        assert torch.get_num_threads() == max(1, threads // 2)
        stages.run("own", [*small, str(tmp_path / "own")])
    assert torch.get_num_threads() == threads
    assert stages.seconds.keys() == {"own", "other"}
    assert stages.report("other")["counts"] == stages.report("own")["counts"]


@pytest.mark.dist
def test_a_mistake_in_the_second_process_is_told(out, tmp_path):
    stages = Stages(out)
    with (
        pytest.raises(UserError, match="num_users \\(0\\) must be at least 1"),
        stages.meanwhile({"other": ["prepare", "simulate", "--num-users", "0", "--out", str(tmp_path / "other")]}),
    ):
        pass


def test_another_folder_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "reports").mkdir()
    for overwrite in (False, True):
        args = SimpleNamespace(out=tmp_path, config="kuairand", seed=0, overwrite=overwrite)
        with pytest.raises(UserError, match="is not empty; give another --out"):
            quickstart.run(args)
    assert (tmp_path / "mine").read_text() == "precious"


def test_the_report_has_the_fields_that_design_promises(tmp_path, monkeypatch, capsys):
    metrics = {"click": {"auc": 0.7, "gauc": 0.6, "ne": 0.9, "logloss": 0.5, "hit3": 0.8, "hit3_hard": 0.7}}
    reports = {
        "prepare": {"counts": {}},
        "evaluate": {
            "metrics": {"model": metrics, "popularity": metrics, "live_popularity": metrics},
            "reads_histories": True,
        },
        "evaluate_no_tower": {"metrics": {"model": metrics, "popularity": metrics}, "reads_histories": False},
        "export": {"parity": {"max_abs_diff": 0.0, "rows": 3}, "artifact": "model"},
    }
    commands = {}

    def fake(out, stage, command):
        commands[stage] = list(command)
        (out / "reports" / f"{stage}.json").write_text(json.dumps(reports.get(stage, {})))
        return 1.0

    monkeypatch.setattr(quickstart, "_run_verb", fake)
    monkeypatch.setattr(quickstart, "ProcessPoolExecutor", ThreadedPool)
    report = quickstart.run(SimpleNamespace(out=tmp_path / "out", config="kuairand", seed=3, overwrite=False))
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert report.keys() == {"seconds", "dataset", "metrics", "read_histories", "parity", "artifact"}
    assert list(report["metrics"]) == ["fused", "no_tower", "popularity", "live_popularity"]
    assert report["read_histories"] == ["fused"]
    assert commands["finetune_no_tower"][-2:] == ["--use_tower", "false"]
    assert commands["finetune"][-2:] == ["--pretrained", str(tmp_path / "out" / "pretrain")]
    assert commands["export"][1] == commands["evaluate"][1] == str(tmp_path / "out" / "fused")
    assert all("--seed" in commands[stage] and "3" in commands[stage] for stage in ("pretrain", "finetune"))
    printed = capsys.readouterr().out
    assert "everything is in" in printed
    assert "gauc compares a user's requests with each other" in printed


class ThreadedPool:
    """Runs the second process's work at once, in this one."""

    def __init__(self, *arguments):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, work, *arguments):
        done = work(*arguments)
        return SimpleNamespace(result=lambda: done)
