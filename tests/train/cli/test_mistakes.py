"""A user's mistake ends in one sentence on stderr and exit status 2."""

import json

import pytest
import torch

from pinfm.train.cli.main import main


@pytest.fixture
def places(dataset, pretrained, finetuned, exported, tmp_path):
    """Words that stand for folders in the commands below."""
    requests = finetuned / "requests.parquet"
    named = {"DATA": dataset, "PRETRAINED": pretrained, "FINETUNED": finetuned, "MODEL": exported, "REQUESTS": requests}
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("tower: {num_layers: 2")
    (tmp_path / "unknown.yaml").write_text("tower: {colour: red}")
    return {name: str(path) for name, path in named.items()} | {
        "NEW": str(tmp_path / "new"),
        "EMPTY": str(tmp_path / "empty"),
        "BROKEN": str(tmp_path / "broken.yaml"),
        "UNKNOWN": str(tmp_path / "unknown.yaml"),
        "CONFIG": str(finetuned / "config.yaml"),
    }


MISTAKES = {
    "an unknown verb": ("fly", "unknown verb 'fly'; choose one of quickstart, prepare, pretrain, finetune, evaluate"),
    "an unknown flag": ("pretrain --data DATA --out NEW --colour red", "--colour"),
    "an unknown field": ("pretrain --data DATA --out NEW --tower.colour red", "colour"),
    "a bad value": ("pretrain --data DATA --out NEW --tower.num_layers many", "num_layers"),
    "a bad choice": ("pretrain --data DATA --out NEW --tower.fusion late", "fusion"),
    "a value out of range": ("pretrain --data DATA --out NEW --tower.dropout 1.5", "tower.dropout (1.5) must lie in"),
    "an unknown recipe": ("pretrain --data DATA --out NEW --config atlantis", "neither a file nor a shipped recipe"),
    "a recipe that is no YAML": ("pretrain --data DATA --out NEW --config BROKEN", "broken.yaml"),
    "a recipe with an unknown field": ("pretrain --data DATA --out NEW --config UNKNOWN", "colour"),
    "no --data": ("pretrain --out NEW", "data"),
    "no --out": ("finetune --data DATA", "out"),
    "--out holds a run": ("pretrain --config CONFIG --data DATA --out PRETRAINED", "holds a run already"),
    "batch size and streams": (
        "pretrain --config CONFIG --data DATA --out NEW --pretrain.batch_size 6",
        "pretrain.batch_size (6) must be a multiple of data_streams (4)",
    ),
    "not a dataset": ("pretrain --config CONFIG --data EMPTY --out NEW", "no prepared dataset"),
    "not a dataset to fine-tune": ("finetune --config CONFIG --data EMPTY --out NEW", "no prepared dataset"),
    "not a run to start from": (
        "finetune --config CONFIG --data DATA --out NEW --pretrained EMPTY",
        "is not a run folder",
    ),
    "a tower that does not fit": (
        "finetune --config CONFIG --data DATA --out NEW --pretrained PRETRAINED --tower.dim 32",
        "does not fit this config",
    ),
    "not a run to evaluate": ("evaluate EMPTY --data DATA", "is not a run folder"),
    "not a dataset to evaluate": ("evaluate FINETUNED --data EMPTY", "no prepared dataset"),
    "an unknown split": ("evaluate FINETUNED --data DATA --split monday", "split"),
    "not a run to export": ("export EMPTY --out NEW", "is not a run folder"),
    "a run that ranks nothing": ("export PRETRAINED --out NEW", "ranks nothing"),
    "an export that exists": ("export FINETUNED --out EMPTY", "exists already"),
    "not a model": ("score EMPTY REQUESTS --out NEW", "is not a model folder"),
    "no requests": ("score MODEL nowhere.parquet --out NEW", "nowhere.parquet does not exist"),
    "requests that are no Parquet": ("score MODEL BROKEN --out NEW", "broken.yaml"),
    "a batch of nothing": ("score MODEL REQUESTS --out NEW --batch-size 0", "batch"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(places, capsys, tmp_path, mistake):
    line, sentence = MISTAKES[mistake]
    assert main([places.get(word, word) for word in line.split()]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pinfm: ")
    assert told.count("\n") == 1
    assert sentence in told
    assert "Traceback" not in told
    assert not (tmp_path / "new").exists()


def test_a_gpu_that_is_not_there(places, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = "pretrain --config CONFIG --data DATA --out NEW --device cuda"
    assert main([places.get(word, word) for word in line.split()]) == 2
    assert "device is `cuda`, but torch sees no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_streams_that_the_processes_do_not_divide(places, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("pinfm.train.feed.dist.get_world_size", lambda group=None: 3)
    line = "pretrain --config CONFIG --data DATA --out NEW"
    assert main([places.get(word, word) for word in line.split()]) == 2
    assert "data_streams (4) must be a multiple of the number of processes (3)" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_help_lists_the_verbs_in_the_order_of_the_road(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    verbs = ["quickstart", "prepare", "pretrain", "finetune", "evaluate", "export", "score"]
    places = [printed.index(f"  {verb} ") for verb in verbs]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", ["pretrain", "finetune", "evaluate", "export", "score"])
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert "--report" in capsys.readouterr().out


def test_a_verb_reports(places, tmp_path, capsys):
    line = "pretrain --config CONFIG --data DATA --out NEW --report"
    words = [places.get(word, word) for word in line.split()]
    assert main([*words, str(tmp_path / "deep" / "report.json")]) == 0
    report = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert report["run"] == places["NEW"]
    assert report["metrics"]["loss"] > 0
    assert "segments/s" in capsys.readouterr().out
