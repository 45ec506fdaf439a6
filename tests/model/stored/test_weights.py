"""Reading a checkpoint: weights by name."""

import pytest
import torch
from run_fakes import write_checkpoint, write_manifest
from torch import nn

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.stored.weights import read_weights


def test_weights_come_by_prefix_and_leave_the_module_alone(tmp_path):
    write_manifest(tmp_path)
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    before = target.weight.clone()
    saved = {f"part.{name}": x for name, x in source.state_dict().items()}
    write_checkpoint(tmp_path, {**saved, "other": torch.ones(5)})
    weights = read_weights(RunFolder.open(tmp_path), target, "part.")
    assert torch.equal(target.weight, before)
    target.load_state_dict(weights)
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.bias, source.bias)


def test_weights_that_the_checkpoint_lacks_are_an_error(tmp_path):
    write_manifest(tmp_path)
    write_checkpoint(tmp_path, {"part.weight": torch.ones(2, 3)})
    with pytest.raises(
        UserError, match=r"can't be read \(.*Missing key .*model\.part\.bias.*\); move it away to fall back"
    ):
        read_weights(RunFolder.open(tmp_path), nn.Linear(3, 2), "part.")
