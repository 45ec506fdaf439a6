"""Runs that are killed, told to stop, or started twice."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import runs
import torch
from pandas.testing import assert_frame_equal
from struck import strike
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pinfm.embeddings.errors import UserError
from pinfm.train import loop
from pinfm.train.cli.main import main
from pinfm.train.phases import Place, finetune, pretrain

KILLED, TERMINATED, INTERRUPTED = -9, 143, 130


@pytest.fixture
def flags(dataset, tmp_path):
    """What a pretraining run is started with, but for its --out."""
    return ["--config", str(runs.write_config(runs.CONFIG, tmp_path / "config.yaml")), "--data", str(dataset)]


def struck(signal, step, *arguments):
    """The end of a process that sent itself a signal in a step."""
    script = Path(__file__).with_name("struck.py")
    words = [sys.executable, script, signal, str(step), *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=runs.HANGS)


def assert_identical(run, expected):
    assert_frame_equal(runs.losses(run), runs.losses(expected), check_exact=True)
    ours, theirs = runs.checkpoint(run), runs.checkpoint(expected)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def logged_steps(run):
    return list(runs.losses(run).index)


def test_a_resumed_run_that_is_killed_before_its_first_line_keeps_the_lines(pretrained, flags, tmp_path):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    began = (run / "metrics.jsonl").read_text()
    for _ in range(2):  # the second kill finds what the first one left
        assert struck("SIGKILL", 4, "pretrain", *flags, "--out", run, "--resume").returncode == KILLED
        assert (run / "metrics.jsonl").read_text() == began
    assert main(["pretrain", *flags, "--out", str(run), "--resume"]) == 0
    assert_identical(run, pretrained)


def test_a_finished_run_that_is_killed_in_its_next_epoch_keeps_the_lines(pretrained, flags, tmp_path):
    run = shutil.copytree(pretrained, tmp_path / "run")
    began = (run / "metrics.jsonl").read_text()
    last = logged_steps(run)[-1]
    longer = ["pretrain", *flags, "--out", run, "--resume", "--pretrain.epochs", "2"]
    assert struck("SIGKILL", last, *longer).returncode == KILLED
    assert (run / "metrics.jsonl").read_text() == began


def test_tensorboard_has_every_step_once_after_a_kill(flags, tmp_path):
    run = tmp_path / "run"
    assert struck("SIGKILL", 6, "pretrain", *flags, "--out", run).returncode == KILLED
    time.sleep(1)  # TensorBoard reads files by name, which is the second and then the number of the process
    assert main(["pretrain", *flags, "--out", str(run), "--resume"]) == 0
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == logged_steps(run)


def test_sigterm_ends_a_run_with_a_checkpoint_of_its_step(pretrained, flags, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "seed_step", loop.seed_step)  # put back afterwards
    strike("SIGTERM", 5)
    run = tmp_path / "run"
    assert main(["pretrain", *flags, "--out", str(run)]) == TERMINATED
    assert capsys.readouterr().err.endswith("\npinfm: stopped by SIGTERM after step 6; continue with --resume.\n")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000004", "step-00000006"]
    assert main(["pretrain", *flags, "--out", str(run), "--resume"]) == 0
    assert_identical(run, pretrained)


def test_sigterm_before_the_first_step_ends_the_command_at_once(flags, tmp_path, monkeypatch, capsys):
    build = loop.AnyRank

    def terminated():
        os.kill(os.getpid(), 15)
        return build()

    monkeypatch.setattr(loop, "AnyRank", terminated)
    assert main(["pretrain", *flags, "--out", str(tmp_path / "run")]) == TERMINATED
    assert capsys.readouterr().err.endswith("\npinfm: stopped by SIGTERM.\n")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_ctrl_c_is_one_line(flags, tmp_path):
    ended = struck("SIGINT", 5, "pretrain", *flags, "--out", tmp_path / "run")
    assert ended.returncode == INTERRUPTED
    assert ended.stderr.splitlines()[-1] == "pinfm: interrupted."
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_a_run_is_trained_is_refused(pretrained, dataset, tmp_path, resume):
    run = shutil.copytree(pretrained, tmp_path / "run") if resume else tmp_path / "run"
    run.mkdir(exist_ok=True)
    place = Place(data=dataset, out=run, resume=resume)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"run is being trained by another process; wait for its end, or give ano"):
            pretrain(runs.CONFIG, place)
        assert (run / ".lock").exists()
    # Its holder is gone, and the file is still there.
    pretrain(runs.CONFIG, place)
    assert not (run / ".lock").exists()


def test_what_a_killed_run_left_is_removed_by_the_next(pretrained, dataset, tmp_path):
    run = shutil.copytree(pretrained, tmp_path / "run")
    (run / "checkpoints" / "unfinished-step-00000099").mkdir()
    (run / ".manifest.json.unfinished").write_text("{")
    pretrain(runs.CONFIG, Place(data=dataset, out=run, resume=True))
    assert not list(run.glob("**/*unfinished*"))


def test_a_folder_that_no_run_began_in_is_not_left(dataset, tmp_path):
    with pytest.raises(UserError, match="max_history"):
        finetune(replace(runs.CONFIG, max_history=1000), Place(data=dataset, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
