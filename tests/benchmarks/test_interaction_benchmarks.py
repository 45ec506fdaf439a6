"""The benchmarks of what interactions cost: a form and its copy are the same, and figures are those of the turns."""

import json

import pytest
import torch

from benchmarks import interaction_finetune, interaction_speed
from benchmarks.parts.speed.interaction_measure import Load, Scored, measure, random_fields, ratio
from benchmarks.parts.speed.meter import Meter
from pinfm.model.ranking.interactions.parts.fields import FieldShape

SHAPE = FieldShape(3, 2, 4)


def test_candidates_are_spread_over_their_requests():
    fields = random_fields(SHAPE, 10, 4, "cpu", torch.bfloat16)
    assert fields.owner.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert (fields.request.shape, fields.candidate.shape) == ((4, 3, 4), (10, 2, 4))
    assert fields.candidate.dtype == torch.bfloat16


def test_the_copy_is_the_same_form():
    split, copied = Scored("dcn_v2_full_rank", SHAPE).eval(), Scored("dcn_v2_full_rank", SHAPE, copied=True).eval()
    copied.load_state_dict(split.state_dict())
    fields = random_fields(SHAPE, 10, 4, "cpu", torch.float32)
    torch.testing.assert_close(copied(fields), split(fields))


def test_operations_and_weights_are_counted():
    load = Load(shape=SHAPE, dtype="fp32", served=100, trained=None, repeats=1)
    row = measure({"form": "dcn_v2_full_rank", "layers": 1}, load, Meter("cpu"))
    # One square matrix with a bias, then the heads: 20 x 256, 256 x 128, three of 128.
    heads = 20 * 256 + 256 * 128 + 128 * 3
    assert row["parameters, M"] == pytest.approx((20 * 20 + 20) / 1e6)
    assert row["with heads, M"] == pytest.approx((20 * 20 + 20 + heads + 256 + 128 + 3) / 1e6)
    # The request's 12 columns are multiplied once for all hundred candidates.
    assert row["MFLOP copied"] == pytest.approx(2 * (20 * 20 + heads) / 1e6)
    assert row["MFLOP"] == pytest.approx(2 * (8 * 20 + 12 * 20 / 100 + heads) / 1e6)
    assert "examples/s" not in row


def test_ratios_are_of_the_same_turn():
    # A turn that another program slowed is slow on both sides.
    assert ratio([2.0, 200.0, 4.0], [1.0, 100.0, 2.0]) == 2.0


def test_every_form_asked_for_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(interaction_speed, "SHAPES", {"tiny": SHAPE, "other": FieldShape(2, 1, 4)})
    loads = {"tiny": {"repeats": 1, "trained": 12, "requests": 3}, "other": {"repeats": 1, "trained": None}}
    monkeypatch.setattr(interaction_speed, "LOADS", {"cpu": loads})
    path = tmp_path / "report.json"
    flags = ["--shapes", "tiny", "other", "--only", "dot", "dcn_v2", "--report", str(path)]
    monkeypatch.setattr("sys.argv", ["interaction_speed", *flags])
    interaction_speed.main()
    report = json.loads(path.read_text())
    for name in ("tiny, fp32", "other, fp32"):
        assert [row["interaction"] for row in report[name]] == ["dot", "dcn_v2"]
        assert all(row["forward, ms"] > 0 and row["copied, ms"] > 0 for row in report[name])
    assert all(row["examples/s"] > 0 and row["of dot"] > 0 for row in report["tiny, fp32"])
    tables = interaction_speed.tables_of(report)
    assert tables.startswith("`tiny`: 3 vectors of the request and 2 of the candidate, of 4 numbers; fp32:\n\n| inter")


def test_whole_steps_are_told_beside_the_dot_products(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    flags = ["--interactions", "dcn_v2", "--steps", "1", "--repeats", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["interaction_finetune", *flags, "--report", str(path)])
    interaction_finetune.main()
    dot, other = json.loads(path.read_text())["steps"]
    assert (dot["interaction"], dot["of dot"], other["interaction"]) == ("dot", 1.0, "dcn_v2")
    assert other["fine-tuning, impressions/s"] > 0
