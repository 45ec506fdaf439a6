"""The benchmark of an adaptation's latency times the files that `pinfm export --adapt` writes, side by side."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import adaptation_latency
from benchmarks.parts.speed.served_model import SCHEMA, random_request, random_tables
from pinfm.model.config import RankerConfig, TowerConfig

TINY = replace(
    adaptation_latency.MODELS["paper"],
    tower=TowerConfig(num_layers=1, dim=16, num_heads=2, out_dim=16, dropout=0.0),
    ranker=RankerConfig(over_hidden=(8,)),
)


def test_every_form_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation_latency, "MODELS", {"tiny": TINY})
    monkeypatch.setattr(adaptation_latency, "REFERENCE_USERS", 3)
    path = tmp_path / "report.json"
    flags = ["--requests", "3", "--events", "6", "--candidates", "10", "--rows", "50", "--report", str(path)]
    monkeypatch.setattr("sys.argv", ["adaptation_latency", *flags])
    adaptation_latency.main()
    rows = json.loads(path.read_text())["latency"]
    assert [(row["features"], row["adapt"]) for row in rows] == [
        (features, form) for features in ("few", "many") for form in adaptation_latency.FORMS
    ]
    for row in rows:
        assert row["p50_ms"] > 0
        assert (row["added"] == "") == (row["adapt"] == "none")
        assert row["added"] == "" or row["added"].endswith(" %")


@torch.no_grad()
def test_the_files_have_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation_latency, "REFERENCE_USERS", 3)
    files = adaptation_latency.adapted_files(TINY, SCHEMA, random_tables(SCHEMA, 50), 6, tmp_path)
    inputs = random_request(0, 5)  # nothing to adapt
    scores = [file(inputs)["click"] for file in files.values()]
    for found in scores[1:]:
        torch.testing.assert_close(found, scores[0], rtol=0, atol=1e-6)
    with pytest.raises(torch.jit.Error, match="the model weighs no events"):
        files["vectors"].trust(inputs)
    assert files["trust"].trust(random_request(6, 5)).shape == (6,)
