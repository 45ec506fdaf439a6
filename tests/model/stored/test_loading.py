"""A checkpoint is read as it was written, or not at all, and nothing in it is run."""

import collections
import json
import pickle
import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.filesystem import _StorageInfo

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.loading import load_values
from pinfm.model.stored.metadata import read_metadata
from pinfm.model.stored.sums import file_sums, require_unchanged, write_sums
from pinfm.model.stored.weights import readable

VALUES = {"weight": torch.arange(6.0), "step": 3, "nested": {"rates": [0.5, "cosine"]}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint with its sums."""
    checkpoint = tmp_path_factory.mktemp("whole") / "checkpoint"
    dcp.save(VALUES, checkpoint_id=checkpoint, no_dist=True)
    write_sums(checkpoint, file_sums(checkpoint.iterdir()))
    return checkpoint


@pytest.fixture
def checkpoint(whole, tmp_path):
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "checkpoint")


def test_values_come_back(checkpoint):
    require_unchanged(checkpoint)
    values = {"weight": torch.zeros(6), "step": 0, "nested": {"rates": [0.0, ""]}}
    load_values(values, checkpoint, no_dist=True)
    assert torch.equal(values.pop("weight"), VALUES["weight"])
    assert values == {name: value for name, value in VALUES.items() if name != "weight"}


def test_ids_in_arrays_come_back(tmp_path):
    ids = np.array([-(2**63), 7, 2**63 - 1])
    dcp.save({"waiting": (ids, ids[:0])}, checkpoint_id=tmp_path / "saved", no_dist=True)
    values = {"waiting": (np.zeros(1), np.zeros(1))}
    load_values(values, tmp_path / "saved", no_dist=True)
    assert [part.tolist() for part in values["waiting"]] == [ids.tolist(), []]


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        (torch.float32, torch.int64),
        (torch.float32, torch.float16),
        (torch.float32, torch.bfloat16),
        (torch.bfloat16, torch.float16),
        (torch.int64, torch.int32),
        (torch.int64, torch.float32),
        (torch.bool, torch.float32),
    ],
)
def test_a_type_that_can_not_hold_what_was_saved_is_refused(tmp_path, saved, wanted):
    dcp.save({"model": {"rate": torch.ones(3, dtype=saved)}}, checkpoint_id=tmp_path / "saved", no_dist=True)
    values = {"model": {"rate": torch.zeros(3, dtype=wanted)}}
    sentence = rf"saved holds model\.rate as {saved}, which {wanted} can't hold; use the precision that the run was"
    with pytest.raises(UserError, match=sentence):
        load_values(values, tmp_path / "saved", no_dist=True)
    assert not values["model"]["rate"].any()


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.int32, torch.int64)],
)
def test_a_type_that_holds_all_that_was_saved_is_filled(tmp_path, saved, wanted):
    numbers = torch.tensor([1, 200, -3], dtype=saved)
    dcp.save({"model": {"rate": numbers}}, checkpoint_id=tmp_path / "saved", no_dist=True)
    values = {"model": {"rate": torch.zeros(3, dtype=wanted)}}
    load_values(values, tmp_path / "saved", no_dist=True)
    assert torch.equal(values["model"]["rate"], numbers.to(wanted))


def test_a_tensor_that_is_not_there_is_named_in_one_sentence(checkpoint):
    # torch says so by what is no Exception, so that a program which handles those would end without a sentence.
    sentence = r"can't be read \(.*Missing key in checkpoint state_dict: other\.\); "
    with pytest.raises(UserError, match=sentence) as told, readable(checkpoint):
        load_values({"other": torch.zeros(6)}, checkpoint, no_dist=True)
    assert not isinstance(told.value.__cause__, Exception)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata"])
def test_a_byte_that_changed_is_noticed(checkpoint, name):
    changed = bytearray((checkpoint / name).read_bytes())
    changed[len(changed) // 2] ^= 1
    (checkpoint / name).write_bytes(changed)
    with pytest.raises(UserError, match=rf"{name} was changed after it was written \(its size or CRC-32 differs\)"):
        require_unchanged(checkpoint)


def test_a_change_between_two_looks_is_noticed(checkpoint):
    require_unchanged(checkpoint)
    with (checkpoint / "__0_0.distcp").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"__0_0\.distcp was changed after it was written"):
        require_unchanged(checkpoint)


def test_missing_and_foreign_files_are_named(checkpoint):
    (checkpoint / "__5_0.distcp").touch()
    with pytest.raises(UserError, match=r"checkpoint holds __5_0\.distcp, which is none of its files; take it out"):
        require_unchanged(checkpoint)
    (checkpoint / "__0_0.distcp").unlink()
    with pytest.raises(UserError, match=r"checkpoint lacks __0_0\.distcp; copy it whole"):
        require_unchanged(checkpoint)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', '{"a": ["x", 1]}'])
def test_sums_that_are_none_are_refused(checkpoint, text):
    (checkpoint / "sums.json").write_text(text)
    with pytest.raises(UserError, match=r"sums\.json is not what training wrote; move .* away"):
        require_unchanged(checkpoint)


def test_a_checkpoint_of_before_is_read_with_a_warning(checkpoint):
    (checkpoint / "sums.json").unlink()
    with pytest.warns(UserWarning, match=r"has no sums\.json, as an older pinfm wrote it: bytes that have changed"):
        require_unchanged(checkpoint)


def test_ranks_share_the_files(checkpoint):
    names = sorted(path.name for path in checkpoint.iterdir() if path.name != "sums.json")
    with (checkpoint / names[1]).open("ab") as file:
        file.write(b"x")
    require_unchanged(checkpoint, 0, 2)
    with pytest.raises(UserError, match="was changed after it was written"):
        require_unchanged(checkpoint, 1, 2)


@pytest.mark.parametrize("foreign", [collections.Counter("ab"), json.loads])
def test_metadata_that_names_something_else_is_not_read(checkpoint, foreign):
    metadata = read_metadata(checkpoint)
    metadata.planner_data = foreign
    (checkpoint / ".metadata").write_bytes(pickle.dumps(metadata))
    sentence = r"\.metadata names (collections\.Counter|json\.loads), which no checkpoint holds, so it is not read"
    with pytest.raises(UserError, match=sentence):
        load_values({"step": 0}, checkpoint, no_dist=True)


def test_metadata_that_is_none_is_refused(checkpoint):
    (checkpoint / ".metadata").write_bytes(pickle.dumps({"step": 3}))
    with pytest.raises(UserError, match=r"\.metadata holds no list of a checkpoint's tensors"):
        read_metadata(checkpoint)


def test_files_elsewhere_are_not_read(checkpoint):
    metadata = read_metadata(checkpoint)
    index, stored = next(iter(metadata.storage_data.items()))
    metadata.storage_data[index] = _StorageInfo("../other", stored.offset, stored.length)
    (checkpoint / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(UserError, match=r"\.metadata names \.\./other, outside of its folder"):
        read_metadata(checkpoint)


def test_values_that_are_no_data_are_not_read(tmp_path):
    dcp.save({"step": Fraction(1, 2)}, checkpoint_id=tmp_path / "checkpoint", no_dist=True)
    with pytest.raises(dcp.CheckpointException, match="Fraction"):
        load_values({"step": 0}, tmp_path / "checkpoint", no_dist=True)
