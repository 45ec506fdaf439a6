"""Two processes train the same model as one, and each continues what the other began."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs
import torch
from pandas.testing import assert_frame_equal

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.place import Place

pytestmark = pytest.mark.dist

# Two ranks add up the same numbers in another order.
RTOL = 1e-4


@pytest.fixture(scope="session")
def two(root, dataset, pretrained, finetuned):
    """The folder of the runs of two_processes.py."""
    folder = root / "two_processes"
    folder.mkdir()
    runs.interrupted(finetuned, folder / "one_then_two", 12)
    config = runs.write_config(runs.CONFIG, folder / "config.yaml")
    script = Path(__file__).with_name("two_processes.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    struck = f"PYTHONPATH={script.parent / 'run_folder'}"
    runs.command("env", struck, *launch, script, config, dataset, pretrained, folder, *runs.free_ports(11), cwd=folder)
    return folder


@pytest.fixture(scope="session")
def two_pretrained(root, dataset):
    """A pretraining run of two processes, launched by TorchX through its entry point."""
    folder = root / "torchx"
    folder.mkdir()
    config = runs.write_config(runs.CONFIG, folder / "config.yaml")
    launch = ["torchx", "run", "--wait", "-s", "local_cwd", "-cfg", f"log_dir={folder / 'logs'}"]
    verb = ["pinfm.pretrain", "-j", "1x2", "--", "--config", config, "--data", dataset, "--out", folder / "run"]
    runs.command(*launch, *verb, cwd=folder)
    return folder / "run"


def assert_same_training(run, expected):
    steps = runs.losses(run)
    assert_frame_equal(steps, runs.losses(expected), rtol=RTOL, atol=2e-6)
    assert_same_weights(run, expected)
    return steps


def assert_same_weights(run, expected):
    ours, theirs = runs.weights(run), runs.weights(expected)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        # AdamW divides by the root of a second moment, so the rounding of a tiny gradient shows in the weight.
        torch.testing.assert_close(
            weight, theirs[name], rtol=1e-3, atol=1e-4, msg=lambda told, name=name: f"{name}: {told}"
        )


def test_finetuning_is_the_same_at_two_processes(two, finetuned):
    steps = assert_same_training(two / "two", finetuned)
    assert len(steps) > 8
    assert RunFolder.open(two / "two").manifest["processes"] == 2
    assert RunFolder.open(finetuned).manifest["processes"] == 1


def test_pretraining_is_the_same_at_two_processes_started_by_torchx(two_pretrained, pretrained):
    steps = assert_same_training(two_pretrained, pretrained)
    assert len(steps) > 4
    assert RunFolder.open(two_pretrained).manifest["processes"] == 2


FEW_STEPS = replace(runs.CONFIG, finetune=replace(runs.CONFIG.finetune, batch_size=128))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("two_without_tower", {"use_tower": False}),
        ("two_with_content", {"cold_start": replace(runs.CONFIG.cold_start, content_fusion=True)}),
    ],
)
def test_variants_are_the_same_at_two_processes(two, dataset, tmp_path, name, fields):
    finetune(replace(FEW_STEPS, **fields), Place(data=dataset, out=tmp_path / "one"))
    assert_same_training(two / name, tmp_path / "one")


def test_sampled_negatives_are_the_same_at_two_processes(two, dataset, tmp_path):
    sampled = replace(runs.CONFIG.pretrain, negatives="sampled", num_sampled=64, log_q=False)
    pretrain(replace(runs.CONFIG, pretrain=sampled), Place(data=dataset, out=tmp_path / "one"))
    assert_same_training(two / "two_sampled", tmp_path / "one")


def test_every_loss_of_pretraining_is_the_same_at_two_processes(two, dataset, tmp_path):
    weights = {"masked_event_weight": 1.0, "contrastive_weight": 0.5, "next_action_weight": 2.0}
    every = replace(runs.CONFIG.pretrain, **weights, loss_weights="by_pairs")
    pretrain(replace(runs.CONFIG, pretrain=every), Place(data=dataset, out=tmp_path / "one"))
    steps = assert_same_training(two / "two_every_loss", tmp_path / "one")
    assert (steps[["masked_event_loss", "contrastive_loss", "next_action_loss"]] > 0.1).all(axis=None)


def test_adversarial_finetuning_is_the_same_at_two_processes(two, dataset, tmp_path):
    adversarial = replace(FEW_STEPS.finetune, adversarial_radius=0.2)
    finetune(replace(FEW_STEPS, finetune=adversarial), Place(data=dataset, out=tmp_path / "one"))
    assert (assert_same_training(two / "two_adversarial", tmp_path / "one")["adversarial_loss"] > 0.1).all()


@pytest.mark.parametrize("train", [pretrain, finetune])
def test_evaluations_find_the_same_at_two_processes(two, dataset, tmp_path, train):
    phase = train.__name__
    plain = getattr(FEW_STEPS, phase)
    validation = replace(plain.validation, per_epoch=2, patience=2)
    config = replace(FEW_STEPS, **{phase: replace(plain, epochs=4, validation=validation)})
    train(config, Place(data=dataset, out=tmp_path / "one"))
    assert_same_training(two / f"two_validated_{phase}", tmp_path / "one")
    ours, theirs = (RunFolder.open(run).validated() for run in (two / f"two_validated_{phase}", tmp_path / "one"))
    assert len(theirs.curve) > 2
    assert [step for step, _ in ours.curve] == [step for step, _ in theirs.curve]
    np.testing.assert_allclose([at for _, at in ours.curve], [at for _, at in theirs.curve], rtol=1e-3)
    assert ours.best[0] == theirs.best[0]


def test_a_run_of_two_processes_goes_on_after_sigterm_as_if_nothing_had_happened(two):
    stopped, whole = two / "two_stopped", two / "two_sampled"
    assert (stopped / "checkpoints" / "step-00000006").is_dir()
    assert_frame_equal(runs.losses(stopped), runs.losses(whole), check_exact=True)
    torch.testing.assert_close(runs.checkpoint(stopped), runs.checkpoint(whole), rtol=0, atol=0)


def test_one_process_continues_a_run_of_two(two, dataset, pretrained, finetuned, tmp_path):
    run = runs.interrupted(two / "two", tmp_path / "run", 12)
    finetune(runs.CONFIG, Place(data=dataset, out=run, pretrained=pretrained, resume=True))
    assert_same_training(run, finetuned)


def test_two_processes_continue_a_run_of_one(two, finetuned):
    assert_same_training(two / "one_then_two", finetuned)


def test_the_kept_requests_have_the_same_scores(two, finetuned):
    ours, theirs = (pd.read_parquet(run / "requests.parquet") for run in (two / "two", finetuned))
    theirs = theirs.set_index("request_id").loc[ours["request_id"]]
    for task in ("click", "save", "hide"):
        ours_N, theirs_N = (np.concatenate(frame[f"expected_{task}"].to_list()) for frame in (ours, theirs))
        np.testing.assert_allclose(ours_N, theirs_N, atol=1e-4)
