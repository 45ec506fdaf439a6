"""Same data, config, seed and number of processes: the same metrics to the last digit, on one machine."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import runs
from pandas.testing import assert_frame_equal

from pinfm.train.cli.main import main

pytestmark = pytest.mark.dist

# Layers and batches wide enough for torch to divide them among threads, and random draws in every step.
CONFIG = replace(
    runs.CONFIG,
    tower=replace(runs.CONFIG.tower, dim=64, dropout=0.1),
    ranker=replace(runs.CONFIG.ranker, over_hidden=(256,), dropout=0.1),
    finetune=replace(runs.CONFIG.finetune, batch_size=128, epochs=3),
)


def judged(run):
    """The metrics of a run as the bytes that a report holds of them."""
    return json.dumps(json.loads(Path(f"{run}.json").read_text())["metrics"]).encode()


@pytest.mark.parametrize("threads", [1, 2])
def test_two_trainings_have_the_same_metrics(dataset, tmp_path, threads):
    script = Path(__file__).with_name("trained_and_judged.py")
    config = runs.write_config(CONFIG, tmp_path / "config.yaml")
    first, second = tmp_path / "first", tmp_path / "second"
    for run in (first, second):
        runs.command(sys.executable, script, config, dataset, run, threads, cwd=tmp_path)
    assert b"hit3_hard" in judged(first)
    assert judged(first) == judged(second)
    assert_frame_equal(runs.losses(first), runs.losses(second), check_exact=True)


def test_two_trainings_by_two_processes_have_the_same_metrics(dataset, tmp_path):
    config = runs.write_config(CONFIG, tmp_path / "config.yaml")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    first, second = tmp_path / "first", tmp_path / "second"
    for run in (first, second):
        verb = ["-m", "pinfm.train.cli.main", "finetune", "--config", config, "--data", dataset, "--out", run]
        runs.command(*launch, *verb, cwd=tmp_path)
        assert main(["evaluate", str(run), "--data", str(dataset), "--report", f"{run}.json"]) == 0
    assert judged(first) == judged(second)
    assert_frame_equal(runs.losses(first), runs.losses(second), check_exact=True)


def test_another_seed_has_other_metrics(dataset, tmp_path):
    """Else equal metrics would say nothing."""
    config = runs.write_config(CONFIG, tmp_path / "config.yaml")
    for seed in ("3", "4"):
        run = str(tmp_path / seed)
        assert main(["finetune", "--config", str(config), "--data", str(dataset), "--out", run, "--seed", seed]) == 0
        assert main(["evaluate", run, "--data", str(dataset), "--report", f"{run}.json"]) == 0
    assert judged(tmp_path / "3") != judged(tmp_path / "4")
