"""The serving benchmark times what `pinfm export` writes, and its parts add up."""

import json
from collections import defaultdict
from dataclasses import replace

import pytest
import torch

from benchmarks import serving
from pinfm.model.config import RankerConfig, TowerConfig


@pytest.fixture
def reported(tmp_path, monkeypatch):
    """Runs the program with some flags on a small model and returns its report."""
    tower = TowerConfig(num_layers=1, dim=16, num_heads=2, out_dim=16)
    small = replace(serving.CONFIG, tower=tower, ranker=RankerConfig(over_hidden=(8,)))
    monkeypatch.setattr(serving, "CONFIG", small)
    path = tmp_path / "report.json"

    def run(*flags):
        flags = ["--requests", "4", "--events", "6", "--candidates", "10", "--rows", "50", *flags]
        monkeypatch.setattr("sys.argv", ["serving", *flags, "--report", str(path)])
        serving.main()
        return json.loads(path.read_text())

    return run


@pytest.fixture
def report(reported):
    return reported()


def test_every_file_is_timed(report, capsys):
    files = [row["file"] for row in report["latency"]]
    assert files == ["module, fp32", "exported, fp32", "exported, bf16"]
    for row in report["latency"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["candidates_per_s"] > 0


def test_the_parts_add_up(report):
    for part, least in (("stages", 9), ("operations", 5)):
        assert len(report[part]) >= least
        assert sum(row["share"] for row in report[part]) == pytest.approx(1.0)
    assert all(row["ms"] > 0 for row in report["stages"])
    assert {"matrix products", "attention", "table lookups"} <= {row["operations"] for row in report["operations"]}


def test_a_cached_user_is_weighed(report):
    # Keys and values of one layer, the rows that enter it, five columns of integers of which one has a row a user.
    assert report["context"] == [
        {"events of a user": 6, "cached context, MiB": (6 * 16 * 4 * 3 + (4 * 6 + 1) * 8) / 2**20}
    ]


def test_rankers_are_parts_of_requests(reported):
    rows = reported("--rankers")["rankers"]
    assert [(row["features"], row["ranker"]) for row in rows] == [
        (features, ranker) for features in ("few", "many") for ranker in serving.RANKERS
    ]
    assert "pinterest" in serving.RANKERS
    for row in rows:
        assert 0 < row["of it the ranker, ms"] < row["p50_ms"]
        assert 0 < row["share"] < 1


def test_a_module_is_watched_for_as_long_as_asked():
    layer, seconds = torch.nn.Linear(2, 2), defaultdict(float)
    with serving.watched({"layer": (layer, "forward")}, seconds):
        layer(torch.zeros(1, 2))
    once = seconds["layer"]
    layer(torch.zeros(1, 2))
    assert seconds == {"layer": once}
    assert once > 0
