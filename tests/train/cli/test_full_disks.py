"""A disk that is full, and a file that may not grow, end in one sentence, and nothing half written is left."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import runs

PINFM = Path(sys.executable).with_name("pinfm")


def ends(most_bytes, commands, folder):
    """Status and stderr of each command, run in one process."""
    (folder / "commands.json").write_text(json.dumps([[str(word) for word in command] for command in commands]))
    script = Path(__file__).with_name("limited.py")
    printed = runs.command(sys.executable, script, most_bytes, folder / "commands.json", cwd=folder).stdout
    return json.loads(printed.splitlines()[-1])


@pytest.fixture
def commands(dataset, finetuned, exported):
    """Every kind of command that writes, into a folder."""

    def into(folder):
        config = ["--config", finetuned / "config.yaml", "--data", dataset]
        return [
            ["prepare", "simulate", "--num-users", "300", "--num-items", "2000", "--out", folder / "data"],
            ["pretrain", *config, "--out", folder / "run"],
            ["export", finetuned, "--out", folder / "model"],
            ["score", exported, finetuned / "requests.parquet", "--out", folder / "scores.parquet"],
        ]

    return into


def assert_told(ended, words):
    for status, told in ended:
        sentence = told.splitlines()[-1]
        assert status == 2, told
        assert sentence.startswith("pinfm: ")
        assert f"can't be written ({words}); make room there, or give another path." in sentence
        assert "Traceback" not in told


def assert_nothing_half(folder):
    names = {path.name for path in folder.iterdir()}
    assert names <= {"run", "commands.json"}
    assert not list(folder.glob("run/checkpoints/*"))
    assert not list(folder.glob("run/.*"))


def test_files_that_may_not_grow(commands, tmp_path):
    # A checkpoint and a model are larger; what a run begins with, and TensorBoard's file, is not.
    *larger, score = commands(tmp_path)
    assert_told(ends(100_000, larger, tmp_path), "File too large")
    assert_told(ends(1000, [score], tmp_path), "File too large")
    assert_nothing_half(tmp_path)


@pytest.fixture
def log(tmp_path):
    """A log of 200,000 events as CSV and as Parquet, for which 100,000 bytes of DuckDB's own database don't do."""
    (tmp_path / "in").mkdir()
    events = pd.DataFrame({"user_id": range(200_000), "timestamp": 1_700_000_000, "action": "click"})
    events["item_id"] = events["user_id"] * 7919
    events.to_csv(tmp_path / "in" / "log.csv", index=False)
    events.to_parquet(tmp_path / "in" / "log.parquet")
    return tmp_path / "in"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_log_is_not_to_blame_for_a_file_that_may_not_grow(log, tmp_path, kind):
    command = ["prepare", "events", log / f"log.{kind}", "--action", "click", "--out", tmp_path / "data"]
    assert_told(ends(100_000, [command], tmp_path), "File too large")
    assert not (tmp_path / "data").exists()


@contextmanager
def small_disk(folder, size):
    """A file system in memory of so many bytes."""
    if shutil.which("mount") is None:
        pytest.skip("this system has no `mount`")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can't be mounted here, which takes root")
    try:
        yield folder
    finally:
        # Also where a process that failed still holds a file there.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(commands, tmp_path):
    with small_disk(tmp_path / "disk", "128k") as disk:
        ended = ends(0, commands(disk)[:3], tmp_path)
        assert_told(ended, "No space left on device")
        assert_nothing_half(disk)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_output_that_goes_to_a_full_disk():
    with open("/dev/full", "w") as full:
        ended = subprocess.run([PINFM, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr == (
        "pinfm: a file can't be written (No space left on device); make room there, or give another path.\n"
    )
