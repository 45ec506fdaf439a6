"""Runs are made once and go on where they stopped; a section of the results page is replaced and nothing else."""

import json
import time

import pytest

from benchmarks.parts.quality.runs import Command, Runs, in_parallel
from pinfm.embeddings.errors import UserError


@pytest.fixture
def called(monkeypatch):
    """The commands that would have been run; they write what a run leaves behind."""
    commands = []

    def pinfm(self, name, words):
        words = [str(word) for word in words]
        commands.append(words)
        if "--report" in words:
            report = words[words.index("--report") + 1]
            with open(report, "w") as file:
                json.dump({"auc": 0.5}, file)
            return
        self.folder(name).mkdir(parents=True, exist_ok=True)
        (self.folder(name) / "manifest.json").touch()
        if "fails" in words:
            raise RuntimeError("killed")

    monkeypatch.setattr(Runs, "_pinfm", pinfm)
    return commands


def test_a_finished_run_is_not_made_again_and_an_interrupted_one_goes_on(tmp_path, called):
    runs = Runs(tmp_path)
    with pytest.raises(RuntimeError, match="killed"):
        runs.train("a", Command("pretrain", "ml1m", ("--seed", 0, "fails")))
    assert runs.train("a", Command("pretrain", "ml1m", ("--seed", 0))) == tmp_path / "runs" / "a"
    runs.train("a", Command("pretrain", "ml1m", ("--seed", 0)))
    run = str(tmp_path / "runs" / "a")
    assert called == [
        ["pretrain", "--config", "ml1m", "--seed", "0", "fails", "--out", run],
        ["pretrain", "--config", "ml1m", "--seed", "0", "--out", run, "--resume"],
    ]


def test_a_run_that_other_settings_made_is_not_taken_for_this_one(tmp_path, called, monkeypatch):
    recipe = tmp_path / "own.yaml"
    recipe.write_text("max_history: 8\n")
    runs = Runs(tmp_path)

    def train(*words):
        runs.train("a", Command("pretrain", str(recipe), ("--data", tmp_path / words[0], *words[1:])))

    train("here", "--seed", 0)
    train("elsewhere", "--seed", 0)
    assert len(called) == 1
    with pytest.raises(UserError, match=r"runs/a was made by other settings .*own@.* --seed 1'\); remove it"):
        train("here", "--seed", 1)
    recipe.write_text("max_history: 9\n")
    with pytest.raises(UserError, match="was made by other settings"):
        train("here", "--seed", 0)


def test_an_evaluation_is_kept(tmp_path, called):
    runs = Runs(tmp_path)
    runs.train("a", Command("finetune", "ml1m", ()))
    assert (
        runs.evaluate("a", tmp_path / "data", "test") == runs.evaluate("a", tmp_path / "data", "test") == {"auc": 0.5}
    )
    assert len(called) == 2


def test_the_seeds_of_a_row_are_those_that_its_command_finished(tmp_path, called, capsys):
    runs = Runs(tmp_path)

    def command_of(seed):
        return Command("pretrain", "ml1m", ("--seed", seed))

    for name, seed in (("a-2", 2), ("a-0", 0), ("a_b-1", 1), ("a-4", 5)):
        runs.train(name, command_of(seed))
    with pytest.raises(RuntimeError, match="killed"):
        runs.train("a-3", Command("pretrain", "ml1m", ("fails",)))
    assert [runs.seeds(row, command_of) for row in ("a", "a_b", "b")] == [[0, 2], [1], []]
    assert capsys.readouterr().out == f"made by other settings, so left out: {tmp_path / 'runs' / 'a-4'}\n"


def test_a_failure_stops_what_has_not_begun(tmp_path):
    done = []

    def work(item):
        done.append(item)
        if item == 1:
            raise ValueError("one")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="one"):
        in_parallel(1, work, list(range(10_000)))
    # A minute and a half of work: time enough to be stopped, however busy the machine is.
    assert len(done) < 10_000
