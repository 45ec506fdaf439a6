"""Tables read out of checkpoints: the values that were saved, whatever the blocks, the shards and the type."""

import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.table import StoredTable


@pytest.fixture
def saved(tmp_path, group):
    tensors = {
        "wide": torch.randn(37, 12),
        "half": torch.randn(10, 4).half(),
        # A view into a larger tensor, as a shard may be.
        "part": torch.randn(9, 4)[3:7],
        "vector": torch.randn(5),
    }
    dcp.save({"model": tensors, "step": 3}, checkpoint_id=tmp_path / "checkpoint")
    return tmp_path / "checkpoint", tensors


@pytest.mark.parametrize("rows", [1, 5, 36, 37, 100])
@pytest.mark.parametrize("name", ["wide", "half", "part"])
def test_blocks_are_what_was_saved(saved, name, rows):
    checkpoint, tensors = saved
    table = StoredTable(checkpoint, f"model.{name}")
    blocks = list(table.blocks(rows))
    assert all(block.size(0) == rows for block in blocks[:-1])
    assert torch.equal(torch.cat(blocks), tensors[name])
    assert (table.rows, table.columns) == tensors[name].shape


@pytest.mark.parametrize("name", ["model.vector", "model.none", "step"])
def test_what_is_no_table_is_refused(saved, name):
    with pytest.raises(UserError, match=rf"has no table {name}"):
        StoredTable(saved[0], name)


def test_a_table_without_one_of_its_shards_is_refused(saved):
    checkpoint, _ = saved
    metadata = dcp.FileSystemReader(checkpoint).read_metadata()
    metadata.storage_data = {i: info for i, info in metadata.storage_data.items() if i.fqn != "model.wide"}
    (checkpoint / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(UserError, match=r"lacks a part of the table model\.wide"):
        StoredTable(checkpoint, "model.wide")


def test_a_torn_checkpoint_is_refused(saved, tmp_path):
    checkpoint, _ = saved
    table = StoredTable(checkpoint, "model.wide")
    [file] = checkpoint.glob("*.distcp")
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(UserError, match=r"distcp is shorter than its checkpoint says"):
        list(table.blocks(37))
    file.unlink()
    with pytest.raises(UserError, match=r"distcp can't be read"):
        StoredTable(checkpoint, "model.wide")
    for byte in range(0, 200, 7):
        flipped = bytearray((checkpoint / ".metadata").read_bytes())
        flipped[byte] ^= 0xFF
        (checkpoint / ".metadata").write_bytes(flipped)
        with pytest.raises(UserError, match=r"can't be read|has no table"):
            StoredTable(checkpoint, "model.wide")
    (checkpoint / ".metadata").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"checkpoint can't be read"):
        StoredTable(checkpoint, "model.wide")
    with pytest.raises(UserError, match=r"none can't be read"):
        StoredTable(tmp_path / "none", "model.wide")
