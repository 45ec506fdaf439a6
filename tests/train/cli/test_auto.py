"""`--config auto`: what it prints and writes, what it makes of flags, and of runs that are there already."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from pinfm.train.cli.main import main

# Small enough to train in a test, and none of it chosen by a rule but the epochs.
FAST = "--device cpu --log_steps 1 --pretrain.epochs 1 --finetune.epochs 1 --tower.dim 32"


def pinfm(line):
    assert main(line.split()) == 0, line


def config(run):
    return yaml.safe_load((run / "config.yaml").read_text())


@pytest.fixture(scope="module")
def chosen(dataset, tmp_path_factory):
    """A pretrained run whose settings were chosen."""
    run = tmp_path_factory.mktemp("auto") / "pretrained"
    pinfm(f"pretrain --config auto --data {dataset} --out {run} {FAST}")
    return run


@pytest.fixture(scope="module")
def followed(dataset, chosen):
    """A ranker that starts from it."""
    run = chosen.parent / "ranker"
    pinfm(f"finetune --config auto --data {dataset} --out {run} --pretrained {chosen} {FAST}")
    return run


def test_it_prints_what_it_chose_and_why(dataset, tmp_path, capsys):
    pinfm(f"pretrain --tower.dropout 0.4 --config auto --data {dataset} --out {tmp_path / 'run'} {FAST}")
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    told = {words[0]: words[1:] for words in lines if len(words) == 3}
    assert told["tower.num_layers"][0] == "1"
    assert "training events" in told["tower.num_layers"][1]
    assert told["tower.dropout"][0] == "0.4"
    assert told["tower.dropout"][1].startswith("(yours)  auto would take 0.0:")
    assert told["tower.dim"] == ["32", told["tower.dim"][1]]
    assert told["tower.dim"][1].startswith("(yours)")
    assert told["item_table.num_hashes"][1].endswith("120 items")
    assert "pretrain.batch_size" in told
    assert not [name for name in told if name.startswith("finetune.")]
    assert config(tmp_path / "run")["tower"]["dropout"] == 0.4


def test_what_it_writes_is_a_config_of_the_same_run(dataset, chosen, followed):
    again = chosen.parent / "again"
    pinfm(f"pretrain --config {chosen}/auto.yaml --data {dataset} --out {again}")
    assert config(again) == config(chosen)
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in (chosen, again)]
    assert [json.loads(line)["loss"] for line in lines[0]] == [json.loads(line)["loss"] for line in lines[1]]
    again = followed.parent / "ranker-again"
    pinfm(f"finetune --config {followed}/auto.yaml --data {dataset} --out {again} --pretrained {chosen}")
    assert config(again) == config(followed)
    assert "  # 120 items\n  num_hashes: 4\n" in (chosen / "auto.yaml").read_text()


def test_a_ranker_follows_the_run_that_it_starts_from(dataset, pretrained, tmp_path, capsys):
    run = tmp_path / "ranker"
    pinfm(f"finetune --config auto --data {dataset} --out {run} --pretrained {pretrained} --device cpu --log_steps 20")
    theirs, ours = config(pretrained), config(run)
    assert ours["tower"] == theirs["tower"]
    assert ours["item_table"] == theirs["item_table"]
    assert ours["max_history"] == theirs["max_history"] == 8
    assert ours["finetune"]["epochs"] == 5 != theirs["finetune"]["epochs"]
    assert "as the pretraining run has it" in capsys.readouterr().out


def test_a_run_goes_on_with_its_own_settings(dataset, chosen, capsys):
    before = (chosen / "auto.yaml").read_text()
    pinfm(f"pretrain --config auto --data {dataset} --out {chosen} --resume --pretrain.epochs 2")
    assert f"auto: {chosen} goes on with the settings that it was begun with" in capsys.readouterr().out
    assert config(chosen)["tower"]["dim"] == 32
    assert config(chosen)["pretrain"]["epochs"] == 2
    assert (chosen / "auto.yaml").read_text() == before
    with pytest.raises(AssertionError):
        pinfm(f"pretrain --config auto --data {dataset} --out {chosen} --resume --tower.dim 64")
    assert "was begun with tower.dim 32, not 64" in capsys.readouterr().err.replace("--", "")


def test_a_file_beside_it_counts_before_it(dataset, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("tower: {dim: 48}\npretrain: {segment_length: 12}\n")
    for order in (f"--config auto --config {tmp_path}/mine.yaml", f"--config {tmp_path}/mine.yaml --config=auto"):
        pinfm(f"plan {order} --data {dataset} --world-size 1 --device cpu --host-gib 4")
        out = capsys.readouterr().out
        assert "48 (yours)" in out
        assert ["pretrain.future_anchor_length", "6"] in [line.split()[:2] for line in out.splitlines()]


def test_an_order_is_pretrained_on_and_evaluated(tmp_path, capsys):
    rows = [(user, (user * step) % 23) for user in range(120) for step in range(2, 12)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(tmp_path / "log.csv", index=False)
    data, run = tmp_path / "dataset", tmp_path / "run"
    pinfm(f"prepare events {tmp_path}/log.csv --action view --order-only user --split-by leave-one-out --out {data}")
    pinfm(f"pretrain --config auto --data {data} --out {run} --pretrain.epochs 2 --device cpu")
    chosen = config(run)
    assert chosen["tower"]["time"] == "none"
    assert chosen["pretrain"]["negatives"] == "catalogue"
    assert chosen["pretrain"]["validation"]["per_epoch"] == 0.5
    assert "the log has an order and no times" in (run / "auto.yaml").read_text()
    pinfm(f"evaluate {run} --data {data}")
    assert main(f"finetune --config auto --data {data} --out {tmp_path}/ranker".split()) == 2
    assert "has no impressions" in capsys.readouterr().err


def test_it_prints_a_config(dataset, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(f"pretrain --config auto --data {dataset} --out {tmp_path}/run --print_config".split())
    assert end.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["item_table"]["num_hashes"] == 4


MISTAKES = {
    "plan --config auto --world-size 2": "--config auto chooses by the dataset; give it with --data DATASET.",
    "pretrain --config auto --data NOWHERE --out NEW": "NOWHERE is no prepared dataset",
    "pretrain --config auto --data DATA --out NEW --tower.dim 63": "--tower.num_heads (1) must divide --tower.dim (63)",
    "finetune --config auto --data DATA --out NEW --pretrained NOWHERE": "NOWHERE is not a run folder",
    "pretrain --config auto --data DATA --out NEW --colour red": "--colour",
    "quickstart --config aut0 --out NEW": "neither a file nor a shipped recipe; the recipes are cold_start,",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(line, dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(line.replace("DATA", str(dataset)).split()) == 2
    told = capsys.readouterr().err
    assert MISTAKES[line] in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_is_chosen_without_torch(dataset, tmp_path):
    words = f"finetune --config auto --data {dataset} --out {tmp_path}/run --finetune.freeze_tower true".split()
    script = f"import sys; from pinfm.train.cli.main import main; assert main({words}) == 2; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "freeze_tower" in done.stderr
    assert "pinfm.train.auto.rules" in done.stdout
    assert not {"'torch'", "'numpy'", "'pyarrow'", "'duckdb'"} & set(done.stdout.strip("[]\n").split(", "))
