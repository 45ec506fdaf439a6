"""The benchmarks of rankers from data to tables, on a tiny dataset."""

import shutil

import pytest
import runs as tiny

from benchmarks import cold_start, fusion
from benchmarks.runs import Runs
from pinfm.train.cli.main import main


@pytest.fixture
def runs(dataset, tmp_path, monkeypatch):
    """Runs over the tiny dataset, in this process."""
    shutil.copytree(dataset, tmp_path / "dataset")

    def pinfm(self, name, words):
        assert main([str(word) for word in words]) == 0

    monkeypatch.setattr(Runs, "_pinfm", pinfm)
    return Runs(tmp_path)


def test_fusion_makes_a_table_a_task(runs, tmp_path):
    config = tiny.write_config(tiny.CONFIG, tmp_path / "config.yaml")
    rows = [row for row in fusion.ROWS if row.name in ("no_tower", "frozen")]
    results = fusion.run(runs, str(config), None, rows, [3], "test", jobs=1)
    assert list(results) == ["no_tower", "frozen"]
    assert 0.0 < results["frozen"][3]["click"]["auc"] < 1.0
    tables = fusion.as_tables(results)
    assert [tables.count(f"**{task}**") for task in ("click", "save", "hide")] == [1, 1, 1]
    assert f"| pretrained, frozen | {results['frozen'][3]['click']['auc']:.4f} |" in tables
    assert runs.folder("pretrained-all_losses-3").is_dir()


def test_cold_start_tells_items_apart_by_age(runs, tmp_path, monkeypatch):
    config = tiny.write_config(tiny.CONFIG, tmp_path / "config.yaml")
    monkeypatch.setattr(cold_start, "RECIPE", str(config))
    results = cold_start.run(runs, None, ["none", "full"], [3], "test", jobs=1)
    by_age = results["full"][3]["click"]["by_age"]
    assert sum(by_age[age]["impressions"] for age in ("<7d", "7-28d", ">=28d")) > 0
    header = cold_start.as_tables(results).splitlines()[2]
    assert header.startswith("| click: recipe | hit3, all items | hit3_hard, all items | auc, all items | hit3, <7d |")


def test_every_row_has_flags_that_the_verbs_take():
    """A setting that was renamed would be found out hours into a benchmark."""
    from jsonargparse import ArgumentParser

    from benchmarks.movielens_rows import ROWS
    from pinfm.train.cli.run_flags import add_run_flags, run_config

    flags = [
        *(("ml1m", row.flags) for row in ROWS.values()),
        *(("kuairand", flags) for flags in fusion.PRETRAINED.values()),
        *(("ml1m_ranking", row.flags) for row in fusion.ROWS),
        *(("cold_start", flags) for flags in cold_start.ROWS.values()),
    ]
    for recipe, row in flags:
        parser = ArgumentParser(exit_on_error=False)
        add_run_flags(parser)
        run_config(parser.instantiate(parser.parse_args(["--config", recipe, *row, "--data", "d", "--out", "o"])))
