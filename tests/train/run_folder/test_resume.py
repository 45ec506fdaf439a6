"""A run that was interrupted goes on as if nothing had happened."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import torch
import yaml
from pandas.testing import assert_frame_equal

from pinfm.embeddings.errors import UserError
from pinfm.inference.export import export
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.tower import SequenceTower
from pinfm.train import phases
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.evaluation.evaluate import evaluate
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.place import Place

# An epoch more than the runs of the fixtures.
LONGER = replace(runs.CONFIG, finetune=replace(runs.CONFIG.finetune, epochs=runs.CONFIG.finetune.epochs + 1))


def assert_same_run(run, expected):
    assert_frame_equal(runs.losses(run), runs.losses(expected), rtol=1e-6, atol=1e-6)
    ours, theirs = runs.weights(run), runs.weights(expected)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_resumed_finetuning_run_equals_the_uninterrupted_one(finetuned, pretrained, dataset, tmp_path):
    run = runs.interrupted(finetuned, tmp_path / "run", 8)
    # It had gone on and logged a little after the checkpoint, and was killed while it wrote.
    lines = (finetuned / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:10]) + lines[10][:7])
    checkpoints = run / "checkpoints"
    unfinished = shutil.copytree(checkpoints / "step-00000008", checkpoints / "unfinished-step-00000012")
    (unfinished / ".metadata").write_bytes(b"torn")
    assert RunFolder.open(run).latest_checkpoint().name == "step-00000008"
    finetune(runs.CONFIG, Place(data=dataset, out=run, pretrained=pretrained, resume=True))
    assert_same_run(run, finetuned)


def test_a_resumed_pretraining_run_equals_the_uninterrupted_one(pretrained, dataset, tmp_path):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    pretrain(runs.CONFIG, Place(data=dataset, out=run, resume=True))
    assert_same_run(run, pretrained)


def test_a_resumed_run_hides_and_cuts_as_the_uninterrupted_one(dataset, tmp_path):
    both = replace(runs.CONFIG.pretrain, masked_event_weight=1.0, contrastive_weight=0.5)
    config = replace(runs.CONFIG, pretrain=both)
    pretrain(config, Place(data=dataset, out=tmp_path / "whole"))
    run = runs.interrupted(tmp_path / "whole", tmp_path / "run", 4)
    pretrain(config, Place(data=dataset, out=run, resume=True))
    assert_same_run(run, tmp_path / "whole")


def test_a_finetuning_run_goes_on_without_what_it_was_pretrained_from(finetuned, dataset, tmp_path):
    run = runs.interrupted(finetuned, tmp_path / "run", 8)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "pretrained": "gone"}))
    finetune(runs.CONFIG, Place(data=dataset, out=run, pretrained=Path("gone"), resume=True))
    assert_same_run(run, finetuned)


def test_a_resumed_run_draws_the_dropout_that_it_would_have_drawn(dataset, tmp_path):
    dropping = replace(runs.CONFIG, tower=replace(runs.CONFIG.tower, dropout=0.3, token_dropout=0.3))
    pretrain(dropping, Place(data=dataset, out=tmp_path / "whole"))
    run = runs.interrupted(tmp_path / "whole", tmp_path / "run", 4)
    pretrain(dropping, Place(data=dataset, out=run, resume=True))
    assert_same_run(run, tmp_path / "whole")


def test_a_run_is_resumed_with_its_own_settings(pretrained, dataset):
    other = replace(runs.CONFIG, seed=5, tower=replace(runs.CONFIG.tower, dim=2 * runs.CONFIG.tower.dim))
    with pytest.raises(UserError, match=r"was begun with seed 3, not 5 \(1 more differ\); resume with --config .*yaml"):
        pretrain(other, Place(data=dataset, out=pretrained, resume=True))


def test_a_run_is_resumed_as_what_it_began_as(pretrained, finetuned, dataset, tmp_path):
    with pytest.raises(UserError, match=r"was begun with kind pretrain, not finetune"):
        finetune(runs.CONFIG, Place(data=dataset, out=pretrained, resume=True))
    with pytest.raises(UserError, match=rf"was begun with pretrained {pretrained}, not None"):
        finetune(runs.CONFIG, Place(data=dataset, out=finetuned, resume=True))
    prepare(replace(runs.SOURCE, num_users=30), tmp_path / "other", PrepareOptions(num_buckets=6))
    with pytest.raises(UserError, match=r"was begun with dataset\.counts\.events \d+, not \d+"):
        pretrain(runs.CONFIG, Place(data=tmp_path / "other", out=pretrained, resume=True))


def test_a_run_that_goes_on_says_so(finetuned, pretrained, dataset, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    place = Place(data=dataset, out=run, pretrained=pretrained, resume=True)
    finetune(LONGER, place)
    finetune(LONGER, place)
    began, now = (json.loads((path / "manifest.json").read_text()) for path in (finetuned, run))
    assert "resumed" not in began
    change = {"from": runs.CONFIG.finetune.epochs, "to": LONGER.finetune.epochs}
    # The second time nothing was left to train.
    assert [resumed["changed"] for resumed in now["resumed"]] == [{"finetune.epochs": change}]
    assert f"step-{now['resumed'][0]['step']:08d}" == RunFolder.open(finetuned).latest_checkpoint().name
    assert now["resumed"][0]["processes"] == 1
    assert now["resumed"][0]["versions"] == began["versions"]
    assert now["config"]["finetune"]["epochs"] == LONGER.finetune.epochs
    assert yaml.safe_load((run / "config.yaml").read_text())["finetune"]["epochs"] == LONGER.finetune.epochs


def test_a_run_is_not_made_shorter(finetuned, pretrained, dataset, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    place = Place(data=dataset, out=run, pretrained=pretrained, resume=True)
    finetune(LONGER, place)
    written = (run / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"was trained for \d+ steps, and 1 epoch\(s\) are \d+; .* at least 2 epochs"):
        finetune(runs.CONFIG, place)
    assert (run / "config.yaml").read_text() == written
    assert (run / "requests.parquet").is_file()


@pytest.mark.parametrize("name", ["actions", "tasks", "features"])
def test_a_run_is_resumed_on_data_that_means_the_same(finetuned, pretrained, dataset, tmp_path, name):
    other = shutil.copytree(dataset, tmp_path / "other")
    values = json.loads((other / "dataset.json").read_text())
    values["schema"][name].reverse()
    (other / "dataset.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=rf"(has|with) .*{name}"):
        finetune(runs.CONFIG, Place(data=other, out=finetuned, pretrained=pretrained, resume=True))


def test_a_fine_tuned_run_is_not_what_fine_tuning_starts_from(finetuned, dataset, tmp_path):
    with pytest.raises(UserError, match=r"is a finetune run; give a run of `pinfm pretrain`"):
        finetune(runs.CONFIG, Place(data=dataset, out=tmp_path / "run", pretrained=finetuned))


def test_a_run_that_goes_on_answers_for_no_older_model(finetuned, pretrained, dataset, tmp_path, monkeypatch):
    run = shutil.copytree(finetuned, tmp_path / "run")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phases, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune(LONGER, Place(data=dataset, out=run, pretrained=pretrained, resume=True))
    with pytest.raises(UserError, match=r"has no requests\.parquet to check against; let the run finish"):
        export(run, tmp_path / "model")


def test_longer_histories_than_the_datasets_are_refused(dataset, tmp_path):
    most = PreparedDataset.open(dataset).info.max_history
    too_long = replace(runs.CONFIG, max_history=most + 1)
    with pytest.raises(UserError, match=rf"max_history is {most + 1}, but .* at most {most} events; lower it, or prep"):
        finetune(too_long, Place(data=dataset, out=tmp_path / "run"))


def test_without_a_tower_there_is_nothing_to_pretrain(dataset, tmp_path):
    with pytest.raises(UserError, match="use_tower is false, so there is nothing to pretrain"):
        pretrain(replace(runs.CONFIG, use_tower=False), Place(data=dataset, out=tmp_path / "run"))


def test_a_run_without_checkpoints_starts_over(pretrained, dataset, tmp_path):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    shutil.rmtree(run / "checkpoints")
    pretrain(runs.CONFIG, Place(data=dataset, out=run, resume=True))
    assert_same_run(run, pretrained)


def test_resuming_a_finished_run_changes_nothing(pretrained, dataset, tmp_path):
    run = shutil.copytree(pretrained, tmp_path / "run")
    pretrain(runs.CONFIG, Place(data=dataset, out=run, resume=True))
    assert_same_run(run, pretrained)


def test_a_run_folder_is_not_overwritten(pretrained, dataset):
    with pytest.raises(UserError, match="holds a run already; continue it with --resume, or give another --out"):
        pretrain(runs.CONFIG, Place(data=dataset, out=pretrained))


def test_a_pretrained_tower_of_another_shape_is_refused(pretrained, dataset, tmp_path):
    place = Place(data=dataset, out=tmp_path / "run", pretrained=pretrained)
    with pytest.raises(UserError, match=r"the tower of .* does not fit this config") as told:
        finetune(replace(runs.CONFIG, tower=replace(runs.CONFIG.tower, dim=32)), place)
    assert "\n" not in str(told.value)
    assert not place.out.exists()


@pytest.mark.filterwarnings("ignore:on a CPU item rows in fp16 are rounded")
# A line of torch's own beside ours would be none of the user's business.
@pytest.mark.filterwarnings("error:Please use DTensor instead:FutureWarning:pinfm.model.stored.loading")
def test_a_table_in_fewer_bits_than_the_pretrained_one_is_refused(pretrained, dataset, tmp_path):
    other = replace(runs.CONFIG, item_table=replace(runs.CONFIG.item_table, precision="fp16"))
    sentence = r"holds model\.item_tables\.embeddings\.item_0\.weight as torch\.float32, which torch\.float16 can't"
    with pytest.raises(UserError, match=sentence):
        finetune(other, Place(data=dataset, out=tmp_path / "run", pretrained=pretrained))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("num_layers", 2), ("num_heads", 4), ("mlp", "swiglu")),
        *(("attention_gate", True), ("positions", "none"), ("time", "none")),
    ],
)
def test_a_tower_that_was_pretrained_in_another_form_is_refused(pretrained, dataset, tmp_path, setting, value):
    was = getattr(runs.CONFIG.tower, setting)
    other = replace(runs.CONFIG, tower=replace(runs.CONFIG.tower, **{setting: value}))
    with pytest.raises(UserError, match=rf"was pretrained with tower\.{setting} {was}, not {value}; use the same"):
        finetune(other, Place(data=dataset, out=tmp_path / "run", pretrained=pretrained))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("field", "value"), [("rows", 300), ("num_hashes", 3), ("ids", "managed")])
def test_another_item_table_than_the_pretrained_one_is_refused(pretrained, dataset, tmp_path, field, value):
    other = replace(runs.CONFIG, item_table=replace(runs.CONFIG.item_table, **{field: value}))
    was = getattr(runs.CONFIG.item_table, field)
    with pytest.raises(UserError, match=rf"was pretrained with item_table\.{field} {was}, not {value}; use the same"):
        finetune(other, Place(data=dataset, out=tmp_path / "run", pretrained=pretrained))
    assert not (tmp_path / "run").exists()


def test_a_table_under_another_hash_is_refused(pretrained, dataset, tmp_path):
    run = shutil.copytree(pretrained, tmp_path / "pretrained")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["tables"]["item"]["seed"] = 7
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"was pretrained with item_table\.seed 7, not 0; use the same"):
        finetune(runs.CONFIG, Place(data=dataset, out=tmp_path / "run", pretrained=run))


@pytest.mark.parametrize("field", ["seed", "rows"])
def test_a_checkpoint_of_other_tables_is_refused(finetuned, dataset, tmp_path, field):
    run = shutil.copytree(finetuned, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["tables"]["item"][field] += 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    sentence = r"step-\d+ was written with other id tables than .*run/manifest\.json says"
    with pytest.raises(UserError, match=sentence):
        evaluate(run, runs.CONFIG, dataset, "test")
    with pytest.raises(UserError, match=sentence):
        export(run, tmp_path / "model")
    with pytest.raises(UserError, match=sentence):
        SequenceTower.from_run(run)


def test_a_checkpoint_that_does_not_say_its_tables_is_refused(finetuned, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    for tables in run.glob("checkpoints/*/tables.json"):
        tables.unlink()
    with pytest.raises(UserError, match=r"step-\d+ has no tables\.json, which says .*; copy it whole, or train"):
        export(run, tmp_path / "model")


@pytest.mark.parametrize("name", ["actions", "surfaces"])
def test_a_tower_that_was_pretrained_on_other_codes_is_refused(pretrained, dataset, tmp_path, name):
    run = shutil.copytree(pretrained, tmp_path / "pretrained")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["schema"][name].reverse()
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=f"was pretrained with {name} .* pretrain on data with the same vocabulary"):
        finetune(runs.CONFIG, Place(data=dataset, out=tmp_path / "run", pretrained=run))
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_older_pinfm_is_not_continued_as_another(pretrained, dataset, tmp_path):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["config"]["tower"]["mlp"], manifest["config"]["managed_ids"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"begun by an older pinfm, which had no .*tower\.mlp.*; finish it with that"):
        pretrain(runs.CONFIG, Place(data=dataset, out=run, resume=True))
