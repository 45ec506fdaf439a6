"""The forms give the same rows, and the benchmark tells what it says."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import dcat
from benchmarks.parts.speed import dcat_measure
from benchmarks.parts.speed.dcat_forms import Rows, form_of, needed_flops
from benchmarks.parts.speed.dcat_measure import Shape, events_of_a_candidate, impls, random_rows, sample
from benchmarks.parts.speed.dcat_tables import sweep_tables
from pinfm.model.config import TowerConfig
from pinfm.model.encoder import build_dcat

DIM = 16


def rows_of(histories, counts):
    events, candidates = torch.randn(sum(histories), DIM), torch.randn(sum(counts), DIM)
    return Rows(events, torch.tensor(histories), candidates, torch.tensor(counts))


@pytest.mark.parametrize("form", ["copied", "grouped", "exported"])
@torch.no_grad()
def test_forms_agree(form):
    transformer = build_dcat(TowerConfig(num_layers=2, dim=DIM, num_heads=2, dropout=0.0))
    rows = rows_of([5, 0, 9], [2, 3, 1])
    expected = form_of("self_attention", transformer, rows)(rows)
    torch.testing.assert_close(form_of(form, transformer, rows)(rows), expected)


def test_flops_are_counted_by_tokens_and_pairs():
    # 3 events and 2 candidates: 6 + 2 x 4 pairs. The last of the 2 layers makes keys and values of the events alone.
    whole_layer = 24 * DIM**2 * 5 + 4 * DIM * 14
    last_layer = 4 * DIM**2 * 3 + 24 * DIM**2 * 2 + 4 * DIM * 8
    tower = TowerConfig(num_layers=2, dim=DIM, num_heads=2)
    assert needed_flops(rows_of([3], [2]), tower) == whole_layer + last_layer
    gates = 2 * DIM**2 * (5 + 2)
    assert needed_flops(rows_of([3], [2]), replace(tower, attention_gate=True)) == whole_layer + last_layer + gates


def test_a_sample_is_the_first_candidates_of_the_first_users():
    rows = rows_of([5, 4, 9], [2, 3, 1])
    part = sample(rows, 3)
    assert (part.event_lengths.tolist(), part.candidate_lengths.tolist()) == ([5, 4], [2, 1])
    assert torch.equal(part.events, rows.events[:9])
    assert torch.equal(part.candidates, rows.candidates[:3])
    assert len(sample(rows, None).candidates) == 6


def test_the_history_of_a_candidate_counts_as_often_as_it_is_read():
    rows = Rows(torch.zeros(8, 4), torch.tensor([2, 6]), torch.zeros(4, 4), torch.tensor([3, 1]))
    assert events_of_a_candidate(rows) == 3.0
    assert events_of_a_candidate(sample(rows, 3)) == 2.0


def test_ragged_lengths_stay_below_the_shape():
    rows = random_rows(Shape(lengths="ragged", users=200, history=64, candidates=10))
    for lengths, most in ((rows.event_lengths, 64), (rows.candidate_lengths, 10)):
        assert 1 <= lengths.min() < lengths.median() < lengths.max() == most


def test_forms_without_a_gradient_or_of_one_length_are_left_out():
    assert impls(Shape(), "cpu") == ["self_attention", "copied", "grouped", "exported"]
    assert impls(Shape(), "cuda") == [*impls(Shape(), "cpu"), "graphed"]
    assert impls(Shape(lengths="ragged"), "cuda") == impls(Shape(), "cpu")
    assert impls(Shape(mode="training"), "cuda") == ["self_attention", "copied", "grouped"]


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_report_has_a_row_a_form_and_precision(mode, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dcat_measure, "TOWER", replace(dcat_measure.TOWER, num_layers=1, dim=DIM, num_heads=2))
    forms = impls(Shape(mode=mode), "cpu")
    shape = Shape(mode=mode, users=2, history=8, candidates=4)
    monkeypatch.setitem(dcat.QUICK_ON, "cpu", (shape,))
    monkeypatch.setattr(dcat, "HEADLINE", shape)
    report = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["dcat", "--quick", "--repeats", "2", "--report", str(report)])
    dcat.main()
    rows = json.loads(report.read_text())["rows"]
    assert [(row["dtype"], row["impl"]) for row in rows] == [(d, f) for d in ("fp32", "bf16") for f in forms]
    shape = ["mode", "dtype", "lengths", "history", "candidates", "users", "attention_gate", "impl"]
    rates = ["candidates_per_s", "tokens_per_s", "ratio_to_self_attention", "share_of_peak"]
    assert all(list(row) == [*shape, *rates, "peak_mib", "max_rel_diff"] for row in rows)
    assert rows[0]["ratio_to_self_attention"] == 1.0
    assert rows[0]["max_rel_diff"] == 0.0
    assert max(row["max_rel_diff"] for row in rows[: len(forms)]) < 1e-5
    assert 0 < min(row["max_rel_diff"] for row in rows[len(forms) :]) < 0.1
    assert capsys.readouterr().out.count(f"| {mode} |") == 2 * len(forms)


def test_the_shapes_of_a_sweep_have_a_process_each(tmp_path, monkeypatch, capsys):
    shapes = [Shape(history=8, candidates=2), Shape(mode="training", history=4, candidates=1)]
    monkeypatch.setattr(dcat, "sweep", lambda: iter(shapes))
    report = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["dcat", "--repeats", "1", "--report", str(report)])
    dcat.main()
    found = {(row["mode"], row["history"], row["candidates"]) for row in json.loads(report.read_text())["rows"]}
    assert found == {("inference", 8, 2), ("training", 4, 1)}
    assert "| training |" in capsys.readouterr().out


def test_a_sweep_is_shown_as_a_line_a_shape():
    shape = {"mode": "training", "dtype": "fp32", "lengths": "full", "history": 64, "candidates": 10}
    figures = {"candidates_per_s": 30.0, "ratio_to_self_attention": 9.0, "share_of_peak": 0.5, "peak_mib": 20.0}
    figures["max_rel_diff"] = 1e-7
    rows = [
        {**shape, "users": 1, "impl": "grouped", **figures},
        {**shape, "users": 8, "impl": "grouped", **figures, "peak_mib": 160.0, "max_rel_diff": 2e-7},
        {**shape, "users": 8, "impl": "copied", **figures},
        {**shape, "users": 8, "impl": "grouped", **figures, "dtype": "bf16", "ratio_to_self_attention": 4.0},
    ]

    rows.append({**rows[0], "candidates": 16})

    def each(*figures):
        return " | ".join(f"{figure}, 1 | {figure}, 8" for figure in figures)

    lines = [line for line in sweep_tables(rows).splitlines() if line and "---" not in line]
    assert lines == [
        "Training, fp32, `grouped`; `max_rel_diff` at most 2.0e-07:",
        f"| lengths | history | candidates | {each('candidates/s', 'ratio', 'peak', 'MiB')} |",
        "| full | 64 | 10 | 30 | 30 | 9 | 9 | 0.5 | 0.5 | 20 | 160 |",
        "| full | 64 | 16 | 30 |  | 9 |  | 0.5 |  | 20 |  |",
        "Training, bf16, `grouped`; `max_rel_diff` at most 1.0e-07:",
        "| lengths | history | candidates | candidates/s, 8 | ratio, 8 | peak, 8 | MiB, 8 |",
        "| full | 64 | 10 | 30 | 4 | 0.5 | 20 |",
    ]
