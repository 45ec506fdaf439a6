"""Runs that are evaluated while they train: they end early, keep their best, and change in nothing else."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import runs
import torch
from pandas.testing import assert_frame_equal
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pinfm.inference import load
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.stored.validated import VALIDATION, Validated
from pinfm.model.tower import SequenceTower
from pinfm.train import loop
from pinfm.train.cli.main import main
from pinfm.train.config import FinetuneValidation, PretrainValidation
from pinfm.train.evaluation.evaluate import EvaluateOptions, evaluate
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder import checkpoint
from pinfm.train.run_folder.place import Place

PHASES = {"pretrain": pretrain, "finetune": finetune}
# Steps between evaluations, twice in epochs of 8 and of 18 steps.
EVERY = {"pretrain": 4, "finetune": 9}
# The third is the best, the fourth as good, the next two worse; with more patience the seventh is the best.
VALUES = (0.10, 0.12, 0.20, 0.20, 0.19, 0.18, 0.30, 0.2, 0.2, 0.2, 0.2, 0.2)
BEST, LAST = 3, 6
# Dropout draws in every step, and rates fall until the last of all steps. No checkpoint is there by its step alone.
PLAIN = replace(
    runs.CONFIG,
    checkpoint_steps=1000,
    tower=replace(runs.CONFIG.tower, dropout=0.2),
    pretrain=replace(runs.CONFIG.pretrain, epochs=6),
    finetune=replace(runs.CONFIG.finetune, epochs=4),
)
CONFIG = replace(
    PLAIN,
    pretrain=replace(PLAIN.pretrain, validation=PretrainValidation(per_epoch=2, patience=3)),
    finetune=replace(PLAIN.finetune, validation=FinetuneValidation(per_epoch=2, patience=3)),
)


def scripted(patches):
    """Lets the i-th evaluation of a run have found VALUES[i]; the model is evaluated all the same."""
    after = Validated.after

    def found(self, step, value):
        every = EVERY["finetune" if self.metric == "auc" else "pretrain"]
        return after(self, step, VALUES[step // every - 1])

    patches.setattr(Validated, "after", found)


@pytest.fixture(params=sorted(PHASES))
def phase(request):
    return request.param


@pytest.fixture(scope="module")
def stopped(root, dataset):
    """A run of each phase that ended early."""
    with pytest.MonkeyPatch.context() as patches:
        scripted(patches)
        for phase, train in PHASES.items():
            train(CONFIG, Place(data=dataset, out=root / "stopped" / phase))
    return root / "stopped"


@pytest.fixture(scope="module")
def plain(root, dataset):
    """The same without evaluations, with a checkpoint at the step at which the other ended."""
    for phase, train in PHASES.items():
        config = replace(PLAIN, checkpoint_steps=LAST * EVERY[phase])
        train(config, Place(data=dataset, out=root / "plain" / phase))
    return root / "plain"


def steps_of_checkpoints(run):
    return [int(path.name.removeprefix("step-")) for path in RunFolder.open(run).checkpoints()]


def test_a_run_ends_when_nothing_better_is_found(stopped, phase):
    run, every = stopped / phase, EVERY[phase]
    found = RunFolder.open(run).validated()
    assert found.curve == tuple((every * (i + 1), value) for i, value in enumerate(VALUES[:LAST]))
    assert found.best == (BEST * every, 0.20)
    assert runs.losses(run).index[-1] == LAST * every


def test_the_best_and_the_newest_checkpoint_are_kept(stopped, phase):
    # Those of the first two evaluations were the best of their time.
    assert steps_of_checkpoints(stopped / phase) == [BEST * EVERY[phase], LAST * EVERY[phase]]


def test_a_checkpoint_that_is_there_by_its_step_is_kept(dataset, tmp_path, monkeypatch):
    scripted(monkeypatch)
    pretrain(replace(CONFIG, checkpoint_steps=8), Place(data=dataset, out=tmp_path / "run"))
    assert steps_of_checkpoints(tmp_path / "run") == [8, 12, 16, 24]


def test_evaluations_change_nothing_of_what_is_trained(stopped, plain, phase, tmp_path):
    ours = runs.checkpoint(stopped / phase)
    theirs = runs.checkpoint(runs.interrupted(plain / phase, tmp_path / "run", LAST * EVERY[phase]))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    losses, expected = runs.losses(stopped / phase), runs.losses(plain / phase)
    assert_frame_equal(losses[expected.columns], expected.loc[losses.index], check_exact=True)


MOMENTS = ("in an evaluation", "before the best is written", "before the former best goes", "in a later step")


def interrupt(patches, moment, phase):
    """Lets a run be interrupted about its third evaluation, which is its best."""
    step = BEST * EVERY[phase]

    def interrupting(genuine, now):
        def maybe(*arguments, **named):
            if now(*arguments):
                raise KeyboardInterrupt
            return genuine(*arguments, **named)

        return maybe

    calls = []
    owner, name, now = {
        "in an evaluation": (Validated, "after", lambda _, at, __: at == step),
        "before the best is written": (checkpoint, "save", lambda state, _: state.step == step),
        "before the former best goes": (checkpoint, "remove", lambda *_: calls.append(0) or len(calls) == BEST),
        "in a later step": (loop, "seed_step", lambda _, at: at == step + EVERY[phase] + 1),
    }[moment]
    patches.setattr(owner, name, interrupting(getattr(owner, name), now))


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_run_ends_as_one_that_was_not(stopped, dataset, tmp_path, phase, moment):
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patches:
        scripted(patches)
        with pytest.MonkeyPatch.context() as strikes:
            interrupt(strikes, moment, phase)
            with pytest.raises(KeyboardInterrupt):
                PHASES[phase](CONFIG, Place(data=dataset, out=run))
        assert not runs.losses(run).empty
        PHASES[phase](CONFIG, Place(data=dataset, out=run, resume=True))
    assert_frame_equal(runs.losses(run), runs.losses(stopped / phase), check_exact=True)
    torch.testing.assert_close(runs.checkpoint(run), runs.checkpoint(stopped / phase), rtol=0, atol=0)
    assert steps_of_checkpoints(run) == steps_of_checkpoints(stopped / phase)
    assert RunFolder.open(run).validated() == RunFolder.open(stopped / phase).validated()


def test_a_run_that_has_ended_goes_on_with_more_patience_alone(stopped, dataset, tmp_path, monkeypatch):
    scripted(monkeypatch)
    run = shutil.copytree(stopped / "pretrain", tmp_path / "run")
    assert pretrain(CONFIG, Place(data=dataset, out=run, resume=True)) == {}
    assert "resumed" not in RunFolder.open(run).manifest
    more = replace(CONFIG.pretrain.validation, patience=4)
    patient = replace(CONFIG, pretrain=replace(CONFIG.pretrain, validation=more))
    pretrain(patient, Place(data=dataset, out=run, resume=True))
    found = RunFolder.open(run).validated()
    assert (found.best, found.curve[-1][0]) == ((28, 0.30), 44)
    assert steps_of_checkpoints(run) == [24, 28, 44]


def test_the_curve_is_logged(stopped, phase):
    run = stopped / phase
    name = {"pretrain": "validation/ndcg@10", "finetune": "validation/auc"}[phase]
    logged = runs.losses(run)[name].dropna()
    assert list(logged.index) == [EVERY[phase] * (i + 1) for i in range(LAST)]
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    shown = pd.Series({event.step: event.value for event in events.Scalars(name)})
    pd.testing.assert_series_equal(shown, logged, check_names=False, check_index_type=False, rtol=1e-4)


def test_the_end_is_told(dataset, tmp_path, monkeypatch, capsys):
    scripted(monkeypatch)
    config = runs.write_config(CONFIG, tmp_path / "config.yaml")
    words = ["pretrain", "--config", str(config), "--data", str(dataset), "--out", str(tmp_path / "run")]
    told = (
        "kept step 12, the best of 6 evaluations on validation (ndcg@10 0.2000); ended after step 24, no better for 3"
    )
    for more in ([], ["--resume"]):
        assert main([*words, *more]) == 0
        assert capsys.readouterr().out.endswith(f"{tmp_path}/run: {told} evaluations\n")
    short = ["--pretrain.epochs", "2", "--out", str(tmp_path / "short")]
    assert main([*words, *short]) == 0
    assert capsys.readouterr().out.endswith("(ndcg@10 0.2000); ended after step 16, the last of its epochs\n")


# Where a best checkpoint is taken.


def test_the_tower_of_a_run_is_the_best(stopped, phase):
    run = stopped / phase
    best, newest = (RunFolder.open(run).checkpoint_at(which) for which in ("best", "newest"))
    taken, expected, other = (SequenceTower.from_run(run, at).state_dict() for at in (None, best, newest))
    torch.testing.assert_close(taken, expected, rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(taken, other)


def test_evaluate_takes_the_best(stopped, dataset, tmp_path, phase, capsys):
    run, step = stopped / phase, BEST * EVERY[phase]
    named = {}
    for which in (None, step, "newest"):
        flags = [] if which is None else ["--checkpoint", str(which)]
        report = tmp_path / "report.json"
        assert main(["evaluate", str(run), "--data", str(dataset), "--report", str(report), *flags]) == 0
        named[which] = json.loads(report.read_text())
        said = capsys.readouterr().out.splitlines()[0]
        assert said.startswith(f"{run}/checkpoints/{named[which]['checkpoint']}")
        assert said.endswith("(auc 0.2000))" if phase == "finetune" else "(ndcg@10 0.2000))") == (which is None)
    assert named[None] == named[step] != named["newest"]
    assert [named[which]["checkpoint"] for which in (None, "newest")] == [
        f"step-{at:08d}" for at in (step, LAST * EVERY[phase])
    ]


def test_an_export_is_of_the_best(stopped, dataset, tmp_path):
    run = stopped / "finetune"
    requests = {which: pd.read_parquet(RunFolder.open(run).requests(which)) for which in ("best", "newest")}
    scores = {}
    for which in ("best", "newest"):
        model = tmp_path / which
        assert export(run, model, ExportOptions(checkpoint=which))["max_abs_diff"] < 1e-5
        source = json.loads((model / "manifest.json").read_text())["source_run"]
        assert source["checkpoint"] == RunFolder.open(run).checkpoint_at(which).name
        scores[which] = load(model).score(requests["best"])["click"]
    kept = {which: pd.Series([p for row in of["expected_click"] for p in row]) for which, of in requests.items()}
    for which in ("best", "newest"):
        pd.testing.assert_series_equal(
            scores[which].astype(float), kept[which].astype(float), check_names=False, atol=1e-5
        )
    assert (scores["best"] - scores["newest"]).abs().max() > 1e-3


def test_the_export_tells_what_it_took(stopped, tmp_path, capsys):
    run = stopped / "finetune"
    assert main(["export", str(run), "--out", str(tmp_path / "best")]) == 0
    assert f"{run}/checkpoints/step-00000027 (step 27, the best of 6" in capsys.readouterr().out
    assert main(["export", str(run), "--out", str(tmp_path / "newest"), "--checkpoint", "newest"]) == 0
    assert f"{run}/checkpoints/step-00000054\n" in capsys.readouterr().out


def test_fine_tuning_starts_from_the_best(stopped, dataset, tmp_path, capsys):
    frozen = replace(PLAIN, finetune=replace(PLAIN.finetune, epochs=1, freeze_tower=True))
    finetune(frozen, Place(data=dataset, out=tmp_path / "run", pretrained=stopped / "pretrain"))
    assert "pretrain, step 12, the best of 6 evaluations" in capsys.readouterr().err
    ours = runs.weights(tmp_path / "run")
    best = runs.weights(runs.interrupted(stopped / "pretrain", tmp_path / "best", 12))
    newest = runs.weights(stopped / "pretrain")
    name = "item_tables.embeddings.item_0.weight"
    assert torch.equal(ours[name], best[name])
    assert not torch.equal(ours[name], newest[name])


def test_each_checkpoint_has_the_curve_until_then(stopped, phase):
    best = RunFolder.open(stopped / phase).checkpoint_at("best")
    then = Validated.from_json(json.loads((best / VALIDATION).read_text()))
    assert [value for _, value in then.curve] == list(VALUES[:BEST])


def test_evaluations_find_what_evaluate_finds(dataset, tmp_path):
    once = {"pretrain": PretrainValidation(per_epoch=1), "finetune": FinetuneValidation(per_epoch=1)}
    for phase, train in PHASES.items():
        settings = replace(getattr(PLAIN, phase), epochs=1, validation=once[phase])
        config, run = replace(PLAIN, **{phase: settings}), tmp_path / phase
        train(config, Place(data=dataset, out=run))
        ((_, found),) = RunFolder.open(run).validated().curve
        report = evaluate(run, config, dataset, "validation", EvaluateOptions(device="cpu"))
        if phase == "pretrain":
            assert found == pytest.approx(report["retrieval"]["ndcg@10"], abs=1e-6)
        else:
            aucs = [of["auc"] for of in report["metrics"]["model"].values()]
            assert found == pytest.approx(sum(aucs) / len(aucs), abs=1e-6)
