"""`pinfm interactions` on a tiny dataset: stopped, gone on with, and joined by another form."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import runs

from pinfm.inference import load
from pinfm.train.cli.main import main
from pinfm.train.comparison.one_run import evaluate
from pinfm.train.comparison.report.statistics import paired_difference
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place

pytestmark = pytest.mark.dist

CONFIG = replace(runs.CONFIG, use_tower=False)
RATES = ("0.001", "0.01")


def words(folder, data, forms):
    config = runs.write_config(CONFIG, folder / "config.yaml")
    flags = ["--seeds", "2", "--learning-rates", *RATES, "--candidates", "5", "--jobs", "2"]
    return ["--config", config, "--data", data, "--out", folder / "out", "--forms", *forms, *flags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def stopped(folder, dataset):
    """A comparison that SIGTERM ended after its first run: its status, and the runs that it had finished."""
    command = [sys.executable, "-m", "pinfm.train.cli.main", "interactions"]
    command += map(str, words(folder, dataset, ["dcn_v2_low_rank"]))
    process = subprocess.Popen(command, cwd=folder, env=runs.environment(folder), stderr=subprocess.PIPE, text=True)
    ends = time.monotonic() + runs.HANGS
    while not list(folder.glob("out/figures/*/*.json")):
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=runs.HANGS)[1]
    return process.returncode, told, {path: path.stat().st_mtime_ns for path in folder.glob("out/figures/*/*.json")}


@pytest.fixture(scope="module")
def report(folder, dataset, stopped):
    """What the comparison reports that went on with the form, and took a second one in."""
    path = folder / "report.json"
    assert main(["interactions", *map(str, words(folder, dataset, ["dot"])), "--report", str(path)]) == 0
    return json.loads(path.read_text())


def test_a_stopped_comparison_leaves_nobody_at_work(stopped, folder):
    status, told, _ = stopped
    assert status == 143
    assert "stopped by SIGTERM" in told
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if str(folder).encode() in _command_line(pid)]


def test_a_stopped_comparison_goes_on(stopped, report):
    finished = stopped[2]
    assert finished
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_forms_join(report):
    assert [row["form"] for row in report["rows"]] == ["dcn_v2_low_rank", "dot"]
    assert all(list(form["seeds"]) == ["3", "4"] for form in report["forms"].values())
    assert all(set(form["tried"]) == set(RATES) for form in report["forms"].values())


def test_every_figure_is_there(report):
    tasks = ["click", "save", "hide"]
    for form in report["forms"].values():
        for run in form["seeds"].values():
            assert list(run["test"]) == tasks
            assert run["candidates_per_s"] > 0
        assert 1 < form["memory_mib"] < 1024
        assert form["latency"]["p50_ms"] > 0
        assert len(form["latency"]["rounds_p50_ms"]) == 5
    # Two layers of rank 4 over vectors of 8 have weights; the dot product has none.
    cross, dot = report["rows"]
    assert dot["interaction_parameters"] == 0
    assert cross["interaction_parameters"] > 0
    assert cross["parameters"] > cross["interaction_parameters"]


def test_a_difference_is_paired_by_seed(report):
    cross, dot = ([_mean_auc(run) for run in form["seeds"].values()] for form in report["forms"].values())
    assert report["baseline"] == "dcn_v2_low_rank"
    assert report["rows"][0]["difference"] is None
    assert report["rows"][1]["difference"] == pytest.approx(paired_difference(dot, cross))
    assert report["rows"][1]["auc"] == pytest.approx(statistics.mean(dot))


def test_a_run_is_that_of_finetune_and_evaluate(report, dataset, tmp_path):
    """To the last digit, in another process."""
    form = report["forms"]["dot"]
    optimizer = replace(CONFIG.finetune.optimizer, dense_lr=form["learning_rate"])
    config = replace(
        CONFIG,
        seed=4,
        ranker=replace(CONFIG.ranker, interaction="dot"),
        finetune=replace(CONFIG.finetune, optimizer=optimizer),
    )
    place = Place(data=dataset, out=tmp_path / "run")
    finetune(config, place)
    assert evaluate(config, place, ("test",))["test"] == form["seeds"]["4"]["test"]


def test_the_artefacts_stay_and_the_runs_go(report, folder):
    assert list((folder / "out" / "runs").iterdir()) == []
    assert load(folder / "out" / "models" / "dot").tasks == ("click", "save", "hide")


def test_page_and_plot_are_written(report, folder):
    page = (folder / "out" / "interactions.md").read_text()
    assert "| dot | " in page
    assert "](interactions.svg)" in page
    assert ElementTree.parse(folder / "out" / "interactions.svg").getroot().tag.endswith("svg")
    assert json.loads((folder / "out" / "interactions.json").read_text()) == report


def test_what_is_finished_is_not_made_again(report, folder, dataset, capsys, monkeypatch):
    def start(*arguments, **settings):
        raise AssertionError(f"{arguments} was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    assert main(["interactions", *map(str, words(folder, dataset, ["dot"]))]) == 0
    assert "| dot | " in capsys.readouterr().out


def test_other_settings_are_refused(report, folder, dataset, capsys):
    again = [*map(str, words(folder, dataset, ["dot"])), "--max_history", "4"]
    assert main(["interactions", *again]) == 2
    told = capsys.readouterr().err
    assert "was made with --max_history 8, not 4; give the settings that it was made with" in told
    assert told.count("\n") == 1


def test_what_a_worker_refuses_is_told_in_one_sentence(dataset, tmp_path, capsys):
    flags = ["--finetune.optimizer.table_lr", "1e30", "--use_tower", "false"]
    assert main(["interactions", *map(str, words(tmp_path, dataset, ["dot"])), *flags]) == 2
    assert "dot: the loss is nan at step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ("{form: autoint, heads: 3}", "bad: ranker.interaction.heads (3) must divide the width of a feature vector"),
        ("{form: cin, maps: 65536}", "bad: the dense part has "),
    ],
)
def test_a_form_that_cannot_be_trained_here_is_told_before_the_others_are(dataset, tmp_path, capsys, form, sentence):
    assert main(["interactions", *map(str, words(tmp_path, dataset, ["dot", f"bad={form}"]))]) == 2
    assert capsys.readouterr().err.startswith(f"pinfm: {sentence}")
    assert not (tmp_path / "out").exists()


def _mean_auc(run):
    return statistics.mean(of["auc"] for of in run["test"].values())


def _command_line(process):
    try:
        return (process / "cmdline").read_bytes() if int(process.name) != os.getpid() else b""
    except OSError:
        return b""  # it has just ended
