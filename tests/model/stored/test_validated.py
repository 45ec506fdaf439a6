"""What counts as better, and which checkpoint a run's evaluations point to."""

import json
import math

import pytest
from model_fakes import config
from run_fakes import write_checkpoint, write_manifest

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.stored.validated import VALIDATION, Validated


def found(*values, higher_is_better=True):
    """Evaluations after steps 10, 20 and so on."""
    validated = Validated(metric="auc" if higher_is_better else "ne", higher_is_better=higher_is_better)
    for i, value in enumerate(values, start=1):
        validated = validated.after(10 * i, value)
    return validated


@pytest.mark.parametrize(
    ("values", "best", "waited", "superseded"),
    [
        ((), None, 0, set()),
        ((0.5,), (10, 0.5), 0, set()),
        ((0.5, 0.6, 0.55), (20, 0.6), 1, {10}),
        ((0.5, 0.5, 0.5), (10, 0.5), 2, set()),  # a tie is no better
        ((0.5, math.nan, 0.6), (30, 0.6), 0, {10}),
        ((math.nan, 0.1, math.nan), (20, 0.1), 1, set()),
        ((math.nan, math.nan), None, 2, set()),
        ((0.1, 0.2, 0.3, 0.0), (30, 0.3), 1, {10, 20}),
    ],
)
def test_only_what_is_strictly_better_counts(values, best, waited, superseded):
    validated = found(*values)
    assert (validated.best, validated.waited, validated.superseded()) == (best, waited, superseded)


def test_of_a_loss_less_is_better():
    assert found(1.0, 0.9, 0.95, higher_is_better=False).best == (20, 0.9)


def test_a_file_holds_it_to_the_last_digit():
    validated = found(0.1 + 0.2, 1 / 3, math.nan)
    again = Validated.from_json(json.loads(json.dumps(validated.to_json())))
    assert again.curve[:2] == validated.curve[:2]
    assert (again.best, again.waited, again.metric) == (validated.best, validated.waited, validated.metric)


def test_it_is_told_in_words():
    assert found(0.5, 0.61).told() == "step 20, the best of 2 evaluations on validation (auc 0.6100)"
    assert not found().told()


def run_with(folder, validated):
    """A run with checkpoints of steps 10, 20 and 30, of which the newest has the evaluations."""
    write_manifest(folder, config())
    for step in (10, 20, 30):
        write_checkpoint(folder, {}, step)
    newest = folder / "checkpoints" / "step-00000030"
    (newest / VALIDATION).write_text(json.dumps(validated.to_json()))
    return RunFolder.open(folder)


def test_the_best_checkpoint_is_that_of_the_newest_curve(tmp_path):
    run = run_with(tmp_path, found(0.5, 0.7, 0.6))
    assert run.checkpoint_at("best").name == "step-00000020"
    assert run.checkpoint_at("newest").name == "step-00000030"
    assert run.checkpoint_at(10).name == "step-00000010"
    with pytest.raises(UserError, match=r"^checkpoint \('bst'\) must be one of best, newest\.$"):
        run.checkpoint_at("bst")


def test_without_evaluations_the_newest_is_the_best(tmp_path):
    run = run_with(tmp_path, found(math.nan))
    assert run.checkpoint_at("best").name == "step-00000030"
    (tmp_path / "checkpoints" / "step-00000030" / VALIDATION).unlink()
    assert run.validated() is None
    assert run.checkpoint_at("best").name == "step-00000030"


def test_a_best_checkpoint_that_is_gone_is_named(tmp_path):
    run = run_with(tmp_path, Validated(metric="auc", higher_is_better=True).after(15, 0.7))
    with pytest.raises(UserError, match=r"has no checkpoint of step 15; it has those of steps 10, 20, 30\.$"):
        run.checkpoint_at("best")


def test_evaluations_that_can_not_be_read_are_named(tmp_path):
    run = run_with(tmp_path, found(0.5))
    (tmp_path / "checkpoints" / "step-00000030" / VALIDATION).write_text('{"curve": [1]}')
    with pytest.raises(UserError, match=r"step-00000030 can't be read .*; move it away to fall back on an earlier one"):
        run.validated()
