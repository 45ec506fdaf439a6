"""A process that dies takes its group with it, and the group goes on from the newest checkpoint by itself."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import runs
import torch
from pandas.testing import assert_frame_equal

from pinfm.train.cli.main import main

pytestmark = pytest.mark.dist

# Enough steps that one is killed in their midst, and draws that a start again must repeat.
FLAGS = ["--pretrain.epochs", "4", "--tower.dropout", "0.3"]


def launch(folder, dataset, *component_flags, verb_flags=()):
    """Starts two processes by TorchX; the run is `folder`/run."""
    folder.mkdir(exist_ok=True)
    config = runs.write_config(runs.CONFIG, folder / "config.yaml")
    torchx = ["torchx", "run", "--wait", "-s", "local_cwd", "-cfg", f"log_dir={folder / 'logs'}"]
    verb = ["--config", config, "--data", dataset, "--out", folder / "run", *FLAGS, *verb_flags]
    words = [*torchx, "pinfm.pretrain", "-j", "1x2", *component_flags, "--", *verb]
    return subprocess.Popen([str(word) for word in words], cwd=folder, env=runs.environment(folder))


def workers(run):
    """Processes that train in this folder: rank -> pid."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode().split("\0")
            variables = (process / "environ").read_bytes().decode().split("\0")
            ranks = [word.removeprefix("RANK=") for word in variables if word.startswith("RANK=")]
            if str(run) in words and ranks:
                found[int(ranks[0])] = int(process.name)
    return found


def wait_for(condition, seconds=runs.HANGS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def told(folder):
    return "".join(file.read_text() for file in (folder / "logs").rglob("stderr.log"))


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert launch(folder, dataset).wait(runs.HANGS) == 0
    return folder / "run"


def assert_same_bits(run, expected):
    assert_frame_equal(runs.losses(run), runs.losses(expected), check_exact=True)
    ours, theirs = (list(values(runs.checkpoint(path))) for path in (run, expected))
    assert len(ours) == len(theirs) > 20
    for (name, value), (other_name, other) in zip(ours, theirs, strict=True):
        assert name == other_name
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
        assert same, name


def values(state, prefix=""):
    if not isinstance(state, dict):
        yield prefix, state
        return
    for key in sorted(state, key=str):
        yield from values(state[key], f"{prefix}.{key}")


def test_a_killed_process_comes_back_and_the_run_ends_as_if_nothing_had_been(undisturbed, dataset, tmp_path):
    run = tmp_path / "run"
    launcher = launch(tmp_path, dataset, "--max_retries", "2")
    wait_for((run / "checkpoints" / "step-00000004").exists)
    os.kill(workers(run)[1], signal.SIGKILL)
    assert launcher.wait(runs.HANGS) == 0
    assert "was ended by SIGKILL" in told(tmp_path)
    manifest = json.loads((run / "manifest.json").read_text())
    assert [resumed["step"] >= 4 for resumed in manifest["resumed"]] == [True]
    assert_same_bits(run, undisturbed)


def test_a_run_of_another_launch_is_refused_and_the_mistake_not_repeated(undisturbed, dataset, tmp_path):
    (tmp_path / "run").symlink_to(undisturbed)
    launcher = launch(tmp_path, dataset, "--max_retries", "3")
    assert launcher.wait(runs.HANGS) != 0
    assert "holds a run already; continue it with --resume" in told(tmp_path)
    assert "start again" not in told(tmp_path)


@pytest.mark.parametrize("job", [None, "other"])
def test_only_the_launch_that_began_a_run_goes_on_without_being_asked_to(pretrained, dataset, tmp_path, capsys, job):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["job"] is None
    config = runs.write_config(runs.CONFIG, tmp_path / "config.yaml")
    flags = ["pretrain", "--config", str(config), "--data", str(dataset), "--out", str(run)]
    (run / "manifest.json").write_text(json.dumps({**manifest, "job": job}))
    assert main([*flags, "--job", "mine"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    (run / "manifest.json").write_text(json.dumps({**manifest, "job": "mine"}))
    assert main([*flags, "--job", "mine"]) == 0
    assert_frame_equal(runs.losses(run), runs.losses(pretrained), rtol=1e-6, atol=1e-6)
