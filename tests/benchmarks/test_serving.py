"""The serving benchmark times what `pinfm export` writes, and its parts add up."""

import json
from dataclasses import replace

import pytest

from benchmarks import serving
from pinfm.model.config import RankerConfig, TowerConfig


@pytest.fixture
def report(tmp_path, monkeypatch):
    tower = TowerConfig(num_layers=1, dim=16, num_heads=2, out_dim=16)
    small = replace(serving.CONFIG, tower=tower, ranker=RankerConfig(over_hidden=(8,)))
    monkeypatch.setattr(serving, "CONFIG", small)
    path = tmp_path / "report.json"
    flags = ["--requests", "4", "--events", "6", "--candidates", "10", "--rows", "50", "--report", str(path)]
    monkeypatch.setattr("sys.argv", ["serving", *flags])
    serving.main()
    return json.loads(path.read_text())


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


def test_the_module_is_as_before_once_it_was_watched():
    module, seconds = serving.build_model(serving.CONFIG, serving.SCHEMA, 256, 32), {}
    method = module.encoder.fusion.encode
    with pytest.raises(RuntimeError, match="stop"), serving.watched({"a": (module.encoder.fusion, "encode")}, seconds):
        assert module.encoder.fusion.encode != method
        raise RuntimeError("stop")
    assert module.encoder.fusion.encode == method
