"""Every form of a tower, packed: planned, frozen, loaded, and near what it was."""

import copy

import pytest
import torch
from test_module import BATCHES, VARIANTS, build, inputs_of

from pinfm.inference.dense.pack import pack_tower
from pinfm.inference.dense.plan import plan_layers
from pinfm.inference.export import save_module

TOWERS = {name: options for name, options in VARIANTS.items() if options.get("use_tower", True)}


@pytest.mark.parametrize("options", TOWERS.values(), ids=TOWERS.keys())
@torch.no_grad()
def test_a_packed_tower_is_exported(tmp_path, options, monkeypatch):
    module, schema = build(**options)
    batches = [inputs_of(schema, lengths) for lengths in BATCHES.values()]
    expected = [module(inputs) for inputs in batches]
    plan = plan_layers(module, batches, sample=len(batches))
    for before, inputs in zip(expected, batches, strict=True):
        torch.testing.assert_close(module(inputs), before, rtol=0, atol=0)  # planning leaves no trace
    assert all(layer.low <= 0 <= layer.high for layer in plan.values())
    packed = copy.deepcopy(module)
    pack_tower(packed.model.encoder, plan)
    save_module(packed, tmp_path / "scoring.pt")
    loaded = torch.jit.load(tmp_path / "scoring.pt")
    for before, inputs in zip(expected, batches, strict=True):
        torch.testing.assert_close(loaded(inputs), before, rtol=0, atol=0.05)
