"""Reading a run: manifest and newest checkpoint."""

import pytest
from model_fakes import config, schema
from run_fakes import ITEM_TABLE, write_checkpoint, write_manifest

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.specs import IdTable
from pinfm.model.stored.run_folder import RunFolder


def test_the_manifest_says_how_the_model_is_built(tmp_path):
    write_manifest(tmp_path, config(interaction="dot", token=True), kind="finetune")
    run = RunFolder.open(str(tmp_path))
    assert run.path == tmp_path
    assert run.kind == "finetune"
    assert run.model == config(interaction="dot", token=True)
    assert run.schema == schema()
    assert run.item_table == ITEM_TABLE
    assert run.feature_tables == (IdTable(name="user_id", num_hashes=2, rows=7, dim=2),)
    assert run.manifest["seed"] == 3


def test_other_folders_are_no_runs(tmp_path):
    with pytest.raises(UserError, match=r"nowhere is not a run folder: it has no manifest\.json; give the --out of"):
        RunFolder.open(tmp_path / "nowhere")


def test_a_run_without_checkpoint_says_so(tmp_path):
    write_manifest(tmp_path)
    run = RunFolder.open(tmp_path)
    (tmp_path / "checkpoints" / "unfinished-step-00000005").mkdir(parents=True)
    assert not run.has_checkpoint()
    with pytest.raises(UserError, match=r"has no checkpoint yet; let the run finish, or lower its checkpoint_steps\.$"):
        run.latest_checkpoint()
    with pytest.raises(UserError, match=r"has no checkpoint of step 5; it has none yet\.$"):
        run.checkpoint_of(5)


def test_the_newest_checkpoint_is_the_one_of_most_steps(tmp_path):
    write_manifest(tmp_path)
    for step in (900, 20_000, 1000):
        write_checkpoint(tmp_path, {}, step)
    run = RunFolder.open(tmp_path)
    assert run.has_checkpoint()
    assert run.latest_checkpoint().name == "step-00020000"
    assert run.checkpoint_of(900).name == "step-00000900"
    with pytest.raises(UserError, match=r"has no checkpoint of step 901; it has those of steps 900, 1000, 20000\.$"):
        run.checkpoint_of(901)
