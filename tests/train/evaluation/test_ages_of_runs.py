"""From a dataset's thresholds of item ages to the dropout of a run and the slices of its report."""

import json
import shutil
from dataclasses import replace

import pytest
import runs

from pinfm.embeddings.errors import UserError
from pinfm.model.item_ages import age_thresholds
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train import phases
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.evaluate import EvaluateOptions, evaluate
from pinfm.train.run_folder.place import Place


@pytest.fixture
def of_hours(dataset, tmp_path):
    """The dataset as one of a log of hours."""
    other = shutil.copytree(dataset, tmp_path / "hours")
    values = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps({**values, "item_age_thresholds": ["1h", "4h"]}))
    return other


def slices(run, data, options):
    return evaluate(run, runs.CONFIG, data, "test", options)["metrics"]["model"]["click"]["by_age"]


def test_slices_go_by_the_datasets_thresholds_unless_others_are_given(finetuned, dataset, of_hours):
    given = EvaluateOptions(item_age_thresholds=("1h", "4h"))
    by_age = slices(finetuned, of_hours, EvaluateOptions())
    assert list(by_age) == ["<1h", "1-4h", "<4h", ">=4h", "unseen"]
    assert slices(finetuned, dataset, given) == by_age
    assert list(slices(finetuned, dataset, EvaluateOptions())) == [
        *PreparedDataset.open(dataset).info.age_thresholds.names(),
        "unseen",
    ]
    with pytest.raises(UserError, match=r"item_age_thresholds \(\[4h\]\) must be two ages"):
        EvaluateOptions(item_age_thresholds=("4h",))


@pytest.mark.parametrize(("own", "kept"), [((), ["1h", "4h"]), (("2h", "3d"), ["2h", "3d"])])
def test_a_run_trains_by_its_datasets_thresholds_and_keeps_them(of_hours, tmp_path, monkeypatch, own, kept):
    built, build = [], phases.build_finetune

    def keep(*arguments):
        built.append(build(*arguments))
        return built[-1]

    monkeypatch.setattr(phases, "build_finetune", keep)
    config = replace(runs.CONFIG, cold_start=replace(runs.CONFIG.cold_start, item_age_thresholds=own))
    phases.finetune(config, Place(data=of_hours, out=tmp_path / "run"))
    dropout = built[0].objective.model.encoder.age_dropout
    assert (dropout.young_seconds, dropout.old_seconds) == age_thresholds("kept", kept)
    run = RunFolder.open(tmp_path / "run")
    assert run.manifest["config"]["cold_start"]["item_age_thresholds"] == kept
    assert run.model.cold_start.item_age_thresholds == tuple(kept)
    phases.finetune(config, Place(data=of_hours, out=tmp_path / "run", resume=True))  # the same run
