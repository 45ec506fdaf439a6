"""The benchmark of the dense part's precisions times every form, and scores test splits in float32 and in int8."""

import json
from dataclasses import replace

import pytest

from benchmarks import dense_precision
from benchmarks.parts.speed import packed_forms
from pinfm.model.config import RankerConfig, TowerConfig


def test_every_form_is_timed(tmp_path, monkeypatch):
    tower = TowerConfig(num_layers=1, dim=16, num_heads=2, out_dim=16, dropout=0.0)
    small = replace(packed_forms.CONFIG, tower=tower, ranker=RankerConfig(over_hidden=(8,)))
    monkeypatch.setattr(packed_forms, "CONFIG", small)
    monkeypatch.setattr(dense_precision, "LAYERS", ((16, 64),))
    path = tmp_path / "report.json"
    flags = ["--requests", "2", "--events", "6", "--candidates", "10", "--rows", "50", "--report", str(path)]
    monkeypatch.setattr("sys.argv", ["dense_precision", *flags])
    dense_precision.main()
    report = json.loads(path.read_text())
    assert [row["file"] for row in report["files"]] == list(packed_forms.FILES)
    for row in report["files"]:
        assert min(row["cpu_ms"], row["any size, cpu_ms"], row["two threads, ms"]) > 0
    assert [row["x cpu_ms"] for row in report["files"] if row["file"] == "fp32"] == [1.0]
    differences = {row["file"]: row["max_abs_diff"] for row in report["files"]}
    assert differences["packed fp32"] < 1e-5 < differences["bf16"]
    assert 0 < differences["int8"] < 0.05
    assert len(report["layers"]) == 8
    assert all(row["cpu_ms"] > 0 for row in report["layers"])


def test_a_run_is_scored_in_both(finetuned, dataset, tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    flags = ["--runs", f"tiny={finetuned},{dataset}", "--report", str(path)]
    monkeypatch.setattr("sys.argv", ["dense_precision", *flags])
    dense_precision.main()
    rows = json.loads(path.read_text())["runs"]
    assert [row["task"] for row in rows] == ["click", "save", "hide"]
    for row in rows:
        assert 0 < row["max_abs_diff"] < 0.05
        if row["auc_fp32"] is not None:
            assert row["auc_change"] == pytest.approx(row["auc_int8"] - row["auc_fp32"], abs=1e-7)
    line = dense_precision.quality_table(rows).splitlines()[2]
    assert line.startswith("| tiny | click | 117 | 8 of 8 | ")


@pytest.mark.parametrize("given", ["tiny", "tiny=run", "=run,data", "tiny=,data"])
def test_a_run_is_given_with_its_dataset(given):
    with pytest.raises(ValueError, match=r"is no NAME=RUN,DATASET"):
        dense_precision.parsed(given)


def test_other_candidates_than_the_runs_are_told(finetuned, dataset, monkeypatch):
    right = dense_precision.pd.read_parquet
    monkeypatch.setattr(
        dense_precision.pd,
        "read_parquet",
        lambda path: right(path).iloc[:-1] if path.name == "model.parquet" else right(path),
    )
    with pytest.raises(ValueError, match="did not score the same candidates"):
        dense_precision.quality_rows("tiny", finetuned, dataset)
