"""The benchmarks of rankers from data to tables, on a tiny dataset."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import runs as tiny

from benchmarks import cold_start, fusion
from benchmarks.parts.quality.rankers import Plan, Row, Trainer
from benchmarks.parts.quality.runs import Runs, prepared
from pinfm.train.cli.main import main


@pytest.fixture
def runs(dataset, tmp_path, monkeypatch):
    """Runs over the tiny dataset, in this process."""
    shutil.copytree(dataset, tmp_path / "dataset")

    def pinfm(self, name, words):
        assert main([str(word) for word in words]) == 0

    monkeypatch.setattr(Runs, "_pinfm", pinfm)
    return Runs(tmp_path)


def results_of(runs, benchmark, names, tmp_path):
    """The rows of these names, trained with the tiny recipe."""
    config = tiny.write_config(tiny.CONFIG, tmp_path / "config.yaml")
    plan = Plan(
        recipe=str(config),
        pretrained=benchmark.PRETRAINED,
        metrics=benchmark.METRICS,
        by_age=benchmark is cold_start,
        seeds=[3],
        split="test",
        jobs=1,
    )
    dataset = prepared(benchmark.source(None), runs.out / "dataset")
    trainer = Trainer(runs, dataset, plan)
    for name in reversed(names):
        trainer.train([row for row in benchmark.ROWS if row.name == name])
    return trainer.evaluated(benchmark.ROWS)


def test_fusion_makes_a_table_a_task(runs, tmp_path):
    results = results_of(runs, fusion, ("no_tower", "frozen"), tmp_path)
    assert list(results) == ["no_tower", "frozen"]
    assert 0.0 < results["frozen"][3]["click"]["auc"] < 1.0
    tables = fusion.as_tables(results)
    assert [tables.count(f"**{task}**") for task in ("click", "save", "hide")] == [1, 1, 1]
    assert f"| pretrained, frozen | {results['frozen'][3]['click']['auc']:.4f} |" in tables
    assert runs.folder("pretrained-all_losses-3").is_dir()


def test_cold_start_tells_items_apart_by_age(runs, tmp_path):
    results = results_of(runs, cold_start, ("none", "full"), tmp_path)
    by_age = results["full"][3]["click"]["by_age"]
    assert list(by_age) == ["<7d", "7-28d", "<28d", ">=28d", "unseen"]
    aucs = {by_age[age]["auc"] for age in ("<7d", "7-28d", ">=28d")}
    assert len(aucs - {None}) == 3
    header = cold_start.as_tables(results).splitlines()[2]
    assert header.startswith("| click: recipe | HIT@3, all items | HIT@3, <7d |")


def test_figures_of_runs_that_other_settings_made_are_left_out(runs, tmp_path, monkeypatch, capsys):
    def pinfm(self, name, words):
        words = [str(word) for word in words]
        if "--report" in words:
            Path(words[words.index("--report") + 1]).write_text('{"metrics": {"model": {"click": {"auc": 0.5}}}}')
        self.folder(name).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(Runs, "_pinfm", pinfm)
    recipe = tmp_path / "own.yaml"
    rows = [Row(name="a", told="", pretrained=None), Row(name="b", told=""), Row(name="c", told="", pretrained=None)]

    def trainer(flags, **changed):
        plan = Plan(
            recipe=str(recipe), pretrained={"all_losses": flags}, metrics=["auc"], seeds=[0], split="test", jobs=1
        )
        return Trainer(runs, tmp_path, replace(plan, **changed))

    recipe.write_text("max_history: 8\n")
    trainer(()).train(rows)
    assert list(trainer(()).evaluated(rows)) == ["a", "b", "c"]
    # The pretraining of b was another one, and its own command was not.
    assert list(trainer(("--seed", 1)).evaluated(rows)) == ["a", "c"]
    assert capsys.readouterr().out == f"pretrained by other settings, so left out: {runs.folder('b-0')}\n"
    recipe.write_text("max_history: 9\n")
    shutil.rmtree(runs.folder("c-0"))
    trainer(()).train(rows[2:])
    assert list(trainer(()).evaluated(rows)) == ["c"]
    told = [f"made by other settings, so left out: {runs.folder(name)}" for name in ("a-0", "b-0")]
    assert capsys.readouterr().out.splitlines() == told


@pytest.mark.parametrize(
    ("benchmark", "words", "sentence"),
    [
        (fusion, ["--dataset", "ml1m_ranking"], "--data, the folder of ML-1M, goes with --dataset ml1m_ranking and"),
        (cold_start, ["--data", "x"], "--data, the folder of MovieTweetings, goes with --dataset movietweetings and"),
    ],
)
def test_a_folder_goes_with_its_own_dataset(benchmark, words, sentence, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", *words])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert sentence in capsys.readouterr().err


def test_every_row_has_flags_that_the_verbs_take():
    """A setting that was renamed would be found out hours into a benchmark."""
    from jsonargparse import ArgumentParser

    from benchmarks.parts.quality.movielens_rows import ROWS
    from pinfm.train.cli.run_flags import add_run_flags, run_config
    from pinfm.train.config import RunConfig

    flags = [
        *(("ml1m", row.flags) for row in ROWS.values()),
        *(("kuairand", flags) for flags in fusion.PRETRAINED.values()),
        *((dataset, row.flags) for dataset in ("kuairand", "ml1m_ranking") for row in fusion.rows_of(dataset)),
        *(("cold_start", row.flags) for row in cold_start.ROWS),
        *(("cold_start", flags) for flags in cold_start.PRETRAINED.values()),
    ]
    for recipe, row in flags:
        parser = ArgumentParser(exit_on_error=False)
        add_run_flags(parser)
        words = ["--config", recipe, *row, "--data", "d", "--out", "o"]
        assert run_config(parser.instantiate(parser.parse_args(words))) != RunConfig(), words
