"""benchmarks/robustness.py from a run to its tables, on a tiny run and with few attacks."""

import json
from dataclasses import replace

import pytest

from benchmarks import robustness
from benchmarks.parts.quality.runs import Runs
from benchmarks.parts.robustness import rows
from benchmarks.parts.robustness.data import DATASETS, Models
from benchmarks.parts.robustness.experiment import Attack, Size
from benchmarks.parts.robustness.tables import values
from benchmarks.parts.workers import robustness as worker
from pinfm.embeddings.errors import UserError

SIZE = Size(requests=15, lists=4, candidates=12, least_events=4, others=10, steps=2, aware=6)
KEPT = (rows.NONE, rows.ALL, rows.TRUST, rows.ADVERSARIAL, rows.ADAPTED[0.1, 3], rows.THRESHOLDS[0.3])


@pytest.fixture(scope="module")
def report(finetuned, dataset, tmp_path_factory):
    """Two seeds of the same run, measured in this process."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(worker, "EVERY_ROW", KEPT)
        patches.setattr(worker, "call", in_this_process)
        patches.setattr(Models, "train", lambda self, seed: {"plain": finetuned, "adversarial": finetuned})
        models = Models(runs=Runs(tmp_path_factory.mktemp("robustness")), name="simulator", data=dataset)
        first = robustness.compared(models, [0, 1], 1, SIZE)
        # Nothing is measured twice.
        patches.setattr(worker, "Model", None)
        assert robustness.compared(models, [0, 1], 1, SIZE) == first
        return first


def in_this_process(runs, data, out, size):
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("sys.argv", ["robustness", *worker.words(runs, data, out, size)])
        worker.main()


def test_every_defence_is_put_to_every_attack(report):
    seeds = json.loads(json.dumps(report))["seeds"]
    assert list(seeds) == ["0", "1"]
    for row in KEPT:
        assert set(seeds["0"][row.name]) == {attack.name for attack in row.attacks()}
        for figures in seeds["0"][row.name].values():
            assert {"auc", "hit3", "overlap", "rbo", "climb"} <= set(figures)


def test_attacks_do_harm_and_those_on_plain_and_adversarial_runs_are_their_own(report):
    none, worse = (values(report["seeds"], "none", attack, "auc")[0] for attack in (rows.CLEAN, rows.PGD))
    strongest = values(report["seeds"], "none", Attack(kind="pgd", size=rows.SWEEPS["pgd"][-1]), "auc")[0]
    # So tiny a run hardly reads its tower: the largest radius it takes to show.
    assert strongest <= worse <= none
    assert strongest < none
    # Here they are one run.
    assert report["seeds"]["0"]["adversarial"] == {
        name: {figure: value for figure, value in of.items() if not figure.startswith("aware")}
        for name, of in report["seeds"]["0"]["none"].items()
        if name != rows.EVADING.name
    }


def test_the_page_tells_all_of_it(report, tmp_path):
    text = robustness.section("simulator", report)
    for told in (
        "all five losses",
        "trust weights",
        "RBO",
        "AUC, within a history",
        "knows",
        "dropped",
        "| 0.1 | 3 | 0.",
        "| 0.3 | 0.",
    ):
        assert told in text
    assert "| none | 0." in text
    robustness.draw(report, tmp_path / "robustness.svg")
    assert "adversarially trained" in (tmp_path / "robustness.svg").read_text()


def test_figures_of_other_settings_are_refused(report, tmp_path, monkeypatch):
    path = tmp_path / "figures.json"
    path.write_text(json.dumps({"settings": {"size": {}}, "rows": {}}))
    with pytest.raises(UserError, match=r"figures.json was made with other settings; remove it"):
        worker.begun(path, {"size": {"requests": 1}})


@pytest.mark.parametrize("flags", [["--dataset", "ml1m_ranking"], ["--dataset", "simulator", "--data", "here"]])
def test_data_goes_with_movielens_alone(monkeypatch, capsys, flags):
    monkeypatch.setattr("sys.argv", ["robustness", *flags])
    with pytest.raises(SystemExit):
        robustness.main()
    assert "--data, the folder of ML-1M, goes with --dataset ml1m_ranking and with no other" in capsys.readouterr().err


def test_both_trainings_of_a_seed_start_from_one_pretraining(tmp_path):
    models = Models(runs=Runs(tmp_path), name="kuairand", data=tmp_path / "dataset")
    pretraining, plain, adversarial = models.told()
    assert "--pretrain.masked_event_weight" in pretraining
    assert "--pretrain.contrastive_weight" in pretraining
    assert adversarial == plain.replace("newest_days 5", "newest_days 5 --finetune.adversarial_radius 0.3")
    assert set(DATASETS) == {"kuairand", "ml1m_ranking", "simulator"}


def test_a_defence_that_nobody_measured_has_no_line(report):
    fewer = {seed: {"none": of["none"]} for seed, of in report["seeds"].items()}
    text = robustness.section("kuairand", {**report, "seeds": fewer})
    assert "| trust weights" not in text
    assert "| none | 0." in text


def test_every_row_of_the_benchmark_is_a_defence_of_its_own():
    assert len({row.name for row in rows.EVERY_ROW}) == len(rows.EVERY_ROW)
    alike = {replace(row, name="", told="", swept=(), put_to=()) for row in rows.ROWS}
    assert len(alike) == len(rows.ROWS)
