"""What a run says before its first step, and the recipe that wants content vectors on data without them."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import runs

from pinfm.embeddings.specs import ItemTableConfig
from pinfm.train.cli.main import main
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.hints import row_hints


@pytest.fixture
def plain(tmp_path):
    """A dataset of events alone, without content vectors: 40 users, 30 items."""
    random = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": np.repeat(range(40), 12), "timestamp": 1_750_000_000 + 3600 * np.arange(480)})
    log = log.assign(action="view", surface="home", item_id=random.integers(0, 30, 480))
    log.to_parquet(tmp_path / "log.parquet")
    prepare = ["prepare", "events", tmp_path / "log.parquet", "--actions", "[view]", "--out", tmp_path / "plain"]
    assert main([str(word) for word in prepare]) == 0
    return tmp_path / "plain"


def pretrain(dataset, folder, *flags):
    config = runs.write_config(runs.CONFIG, folder.parent / "config.yaml")
    return main(["pretrain", "--config", str(config), "--data", str(dataset), "--out", str(folder), *flags])


def test_a_run_tells_its_steps_and_what_does_not_fit_them(dataset, tmp_path, capsys):
    flags = ("--pretrain.epochs", "2", "--pretrain.optimizer.warmup_steps", "500", "--item_table.rows", "40")
    assert pretrain(dataset, tmp_path / "run", *flags) == 0
    told = capsys.readouterr().err.splitlines()
    length = re.fullmatch(r"pretrain: (\d+) steps, 2 epoch\(s\) of (\d+), 16 segments a step", told[0])
    steps, per_epoch = map(int, length.groups())
    assert steps == 2 * per_epoch == len(runs.losses(tmp_path / "run"))
    assert told[1].startswith(
        f"pinfm: warning: --pretrain.optimizer.warmup_steps (500) is not below the run's {steps} steps"
    )
    assert told[2].startswith("pinfm: warning: --item_table.rows (40) is far below the catalogue's 120 items")


def test_a_fine_tuning_tells_the_same(dataset, tmp_path, capsys):
    config = runs.write_config(runs.CONFIG, tmp_path / "config.yaml")
    words = ["finetune", "--config", str(config), "--data", str(dataset), "--out", str(tmp_path / "run")]
    assert main([*words, "--finetune.optimizer.warmup_steps", "90", "--item_table.rows", "40"]) == 0
    told = capsys.readouterr().err.splitlines()
    steps = len(runs.losses(tmp_path / "run"))
    assert told[0] == f"finetune: {steps} steps, 1 epoch(s) of {steps}, 32 requests a step"
    assert told[1].startswith(
        f"pinfm: warning: --finetune.optimizer.warmup_steps (90) is not below the run's {steps} steps, so"
    )
    assert told[1].endswith("; lower it, or train for more epochs.")
    assert told[2].startswith("pinfm: warning: --item_table.rows (40) is far below the catalogue's 120 items, so")


def test_what_fits_is_told_without_a_warning(dataset, tmp_path, capsys):
    assert pretrain(dataset, tmp_path / "run") == 0
    assert "warning" not in capsys.readouterr().err


def test_a_run_that_goes_on_tells_what_is_done(pretrained, dataset, tmp_path, capsys):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    assert pretrain(dataset, run, "--resume") == 0
    assert re.match(
        r"pretrain: \d+ steps, 1 epoch\(s\) of \d+, 16 segments a step, of which 4 are done\n", capsys.readouterr().err
    )
    assert pretrain(dataset, run, "--resume") == 0
    assert "steps" not in capsys.readouterr().err  # nothing is left to train


def test_rows_are_counted_against_the_catalogue():
    table = ItemTableConfig(num_hashes=4, rows=20_000, dim=16)
    assert list(row_hints(table, 40_000)) == []
    (hashed,) = row_hints(table, 45_286)
    assert "2.3 of them share each row" in hashed
    (managed,) = row_hints(ItemTableConfig(ids="managed", rows=20_000), 45_286)
    assert "at most 44% of them have a row at a time" in managed


def test_a_ranker_that_wants_content_names_the_flag_that_does_without(tmp_path, capsys):
    prepare(replace(runs.SOURCE, content_dim=0), tmp_path / "plain", PrepareOptions(num_buckets=4))
    config = runs.write_config(
        replace(runs.CONFIG, ranker=replace(runs.CONFIG.ranker, content_vector=True)), tmp_path / "config.yaml"
    )
    words = ["finetune", "--config", str(config), "--data", str(tmp_path / "plain")]
    assert main([*words, "--out", str(tmp_path / "refused")]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    flag = "--ranker.content_vector false"
    assert f"the dataset's items have no content vectors; switch it off with {flag}" in sentence
    assert main([*words, "--out", str(tmp_path / "run"), *flag.split()]) == 0


def test_the_recipe_cold_start_names_the_flag_that_does_without_content(plain, tmp_path, capsys):
    words = ["pretrain", "--config", "cold_start", "--data", str(plain), "--item_table.rows", "64"]
    assert main([*words, "--out", str(tmp_path / "refused")]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    flag = "--cold_start.content_fusion false"
    assert f"the dataset's items have no content vectors; switch it off with {flag}" in sentence
    assert main([*words, "--out", str(tmp_path / "run"), *flag.split()]) == 0


def test_the_recipe_cold_start_fine_tunes_without_content_too(tmp_path, capsys):
    prepare(replace(runs.SOURCE, content_dim=0), tmp_path / "plain", PrepareOptions(num_buckets=8))
    words = ["finetune", "--config", "cold_start", "--data", str(tmp_path / "plain"), "--item_table.rows", "64"]
    assert main([*words, "--out", str(tmp_path / "refused")]) == 2
    flag = "--cold_start.content_fusion false"
    assert f"switch it off with {flag}" in capsys.readouterr().err.splitlines()[-1]
    assert main([*words, "--out", str(tmp_path / "run"), *flag.split()]) == 0
