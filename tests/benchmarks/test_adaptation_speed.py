"""The benchmark of the adaptation's steps times them beside the training losses, and all of them compute something."""

import json

import pytest
import torch

from benchmarks import adaptation_speed
from pinfm.model.adaptation.reference import make_reference
from pinfm.model.config import ModelConfig
from pinfm.model.encoder import build_encoder

TOWER = "1 layer of 64"


@pytest.fixture
def small(monkeypatch):
    for name, value in (("EVENTS", 24), ("CATALOGUE", 200), ("REFERENCE_ITEMS", 16)):
        monkeypatch.setattr(adaptation_speed, name, value)


def test_every_batch_has_a_row(small, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation_speed, "USERS", {TOWER: [1, 3]})
    path = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["adaptation_speed", "--repeats", "1", "--threads", "1", "--report", str(path)])
    adaptation_speed.main()
    rows = json.loads(path.read_text())["rows"]
    assert [(row["tower"], row["users"]) for row in rows] == [(TOWER, 1), (TOWER, 3)]
    for row in rows:
        assert row["times_faster"] == pytest.approx(row["training_ms"] / row["adaptation_step_ms"])
        same = row["training_same_items_ms"]
        assert row["times_faster_same_items"] == pytest.approx(same / row["adaptation_step_ms"])
        assert row["times_faster_newest_64"] == pytest.approx(same / row["newest_64_step_ms"])


def test_training_gives_weights_their_gradients_and_the_adaptation_moves_vectors(small, group):
    settings, item_dim = adaptation_speed.TOWERS[TOWER]
    encoder = build_encoder(ModelConfig(tower=settings), adaptation_speed.SCHEMA, item_dim).eval()
    history, item_VE = adaptation_speed.random_histories(2), torch.randn(200, item_dim)
    item_TE = item_VE[history.item_id]
    reference = make_reference(encoder, history, item_TE, adaptation_speed.SCHEMA.positive_codes(), 16)
    for held in (None, reference):
        encoder.zero_grad()
        adaptation_speed.training_step(encoder, history, item_VE, held)()
        assert all((weight.grad != 0).any() for weight in encoder.psi.parameters())
    for work in adaptation_speed.adaptation_steps(encoder, history, item_VE, reference).values():
        assert (work() != item_TE).any(dim=1).float().mean() > 0.9
