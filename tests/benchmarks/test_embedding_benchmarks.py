"""The benchmarks of large tables, with small ones."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import embedding_20b, embedding_scale, export_memory
from benchmarks.parts.quality.runs import prepared
from benchmarks.parts.speed.served_model import random_request
from pinfm.inference import load


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The processes that benchmarks start find them, whatever folder the tests have gone to."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def small_features(monkeypatch):
    monkeypatch.setattr(embedding_20b, "FEATURE_ROWS", 500)


def test_a_folder_is_built_that_hosts_can_map(tmp_path, small_features):
    folder = tmp_path / "model"
    embedding_20b.build(folder, 2000)
    scorer = load(folder)
    listed = {file for _, file, *_ in scorer.module.table_files}
    assert listed == {str(path.relative_to(folder)) for path in folder.glob("tables/*")}
    assert len(listed) > 8
    (scores,) = {len(values) for values in scorer.module(random_request(16, 5)).values()}
    assert scores == 5
    vectors = scorer.module.item_vectors(torch.arange(-3, 3))
    assert vectors.shape == (6, 256)
    assert vectors.unique(dim=0).size(0) == 6


def test_processes_serve_the_same_files(tmp_path, small_features, monkeypatch):
    report = tmp_path / "report.json"
    flags = ["--rows", "2000", "--lookups", "5", "--repeats", "1", "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["embedding_20b", "--out", str(tmp_path), "--report", str(report), *flags])
    embedding_20b.main()
    found = json.loads(report.read_text())
    assert [row["process"] for row in found["processes"]] == ["first", "second, beside it", "first, from the disk"]
    for row in found["processes"]:
        assert row["start to first answer, s"] > 0
        assert 0 < row["share of shared pages, GiB"] <= row["resident, GiB"]
        assert row["tables, GB"] == pytest.approx(8 * 2000 * 20 / 1e9)
    assert [row["ids"] for row in found["lookups"]] == ["Zipf", "even"]
    assert all(0 < row["p50, ms"] <= row["p99, ms"] <= row["max, ms"] for row in found["lookups"])


def small_world(source, out):
    return prepared(replace(source, num_users=100, num_items=200), out, num_buckets=8)


def test_steps_are_timed_and_memory_is_what_is_planned(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_scale, "prepared", small_world)
    report = tmp_path / "report.json"
    flags = ["--rows", "800000", "--ranks", "2", "--rows-of-ranks", "8000", "--steps", "2", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", ["embedding_scale", "--out", str(tmp_path), "--report", str(report), *flags])
    embedding_scale.main()
    found = json.loads(report.read_text())
    assert [(row["rows"], row["ranks"]) for row in found["rows"] + found["ranks"]] == [(800_000, 1), (8000, 2)]
    for row in found["rows"] + found["ranks"]:
        assert row["tables alone, ms"] > 0
        assert row["step, ms"] > 0
    [large] = found["rows"]
    assert large["planned, GiB"] == pytest.approx(800_000 * (16 + 1) * 4 / 2**30)
    assert large["memory, GiB"] == pytest.approx(large["planned, GiB"], rel=0.1)
    assert found["threads"] == 1


def test_an_export_is_weighed(tmp_path, monkeypatch):
    monkeypatch.setattr(export_memory, "prepared", small_world)
    report = tmp_path / "report.json"
    flags = ["--out", str(tmp_path), "--rows", "1000", "--report", str(report)]
    monkeypatch.setattr("sys.argv", ["export_memory", *flags])
    export_memory.main()
    found = json.loads(report.read_text())["exports"]
    kinds = [(row["precision"], row["layout"]) for row in found]
    assert kinds == [("int4", "whole"), ("int4", "apart"), ("int8", "whole"), ("int8", "apart")]
    packed = {row["precision"]: row["packed tables, MiB"] for row in found}
    assert packed == {"int4": 8 * 1000 * 20 / 2**20, "int8": 8 * 1000 * 36 / 2**20}
    for row in found:
        assert row["beside both, MiB"] == row["most held, MiB"] - row["libraries, MiB"] - row["packed tables, MiB"]
        assert 0 < row["beside both, MiB"] < 384


def test_an_export_that_fails_is_no_measurement(tmp_path):
    with pytest.raises(subprocess.CalledProcessError, match=r"exit status 2"):
        export_memory.held_mib(["export", "nowhere", "--out", str(tmp_path / "model")])
