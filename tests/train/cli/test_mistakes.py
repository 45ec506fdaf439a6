"""A user's mistake ends in one sentence on stderr and exit status 2."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pinfm.embeddings.errors import UserError
from pinfm.train.cli.main import main
from pinfm.train.distributed import choose_device

# Copies of a run or of the dataset, each damaged in its own way.
SPOILT = ("flipped", "torn", "unwhole", "lost", "logged", "cut", "cut_map", "half", "quarter")

NESTED = '{"stacked":[' * 400 + '"dot"' + "]}" * 400


@pytest.fixture
def places(dataset, pretrained, finetuned, exported, tmp_path):
    """Words that stand for folders in the commands below."""
    requests = finetuned / "requests.parquet"
    named = {"DATA": dataset, "PRETRAINED": pretrained, "FINETUNED": finetuned, "MODEL": exported, "REQUESTS": requests}
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("tower: {num_layers: 2")
    (tmp_path / "unknown.yaml").write_text("tower: {colour: red}")
    (tmp_path / "older.yaml").write_text("ranker: {interaction: dcn_v2, cross_layers: 3}")
    (tmp_path / "null.yaml").write_text("cold_start:\n")
    # A copy, as the run is that of all tests.
    shutil.copy(finetuned / "config.yaml", tmp_path / "unspoilt.yaml")
    for name in ("flipped", "torn", "unwhole", "lost", "logged"):
        shutil.copytree(finetuned, tmp_path / name)
    shard = max((tmp_path / "flipped" / "checkpoints").iterdir()) / "__0_0.distcp"
    values = bytearray(shard.read_bytes())
    values[len(values) // 2] ^= 1
    shard.write_bytes(values)
    (tmp_path / "torn" / "manifest.json").write_text("{")
    (max((tmp_path / "unwhole" / "checkpoints").iterdir()) / ".metadata").unlink()
    (tmp_path / "lost" / "manifest.json").unlink()
    with (tmp_path / "logged" / "metrics.jsonl").open("a") as log:
        log.write("no JSON\n")
    for name, spoilt in (("cut", "__0_0.distcp"), ("cut_map", ".metadata")):
        shutil.copytree(pretrained, tmp_path / name)
        with (max((tmp_path / name / "checkpoints").iterdir()) / spoilt).open("r+b") as file:
            file.truncate(99)
    for name in ("half", "quarter"):
        shutil.copytree(dataset, tmp_path / name)
    (tmp_path / "half" / "items.parquet").write_bytes(b"PAR1")
    (tmp_path / "quarter" / "dataset.json").write_text('{"format_version": 1}')
    return {name: str(path) for name, path in named.items()} | {
        "NEW": str(tmp_path / "new"),
        "EMPTY": str(tmp_path / "empty"),
        "BROKEN": str(tmp_path / "broken.yaml"),
        "UNKNOWN": str(tmp_path / "unknown.yaml"),
        "OLDER": str(tmp_path / "older.yaml"),
        "NULL": str(tmp_path / "null.yaml"),
        "UNSPOILT": str(tmp_path / "unspoilt.yaml"),
        **{name.upper(): str(tmp_path / name) for name in SPOILT},
        "CONFIG": str(finetuned / "config.yaml"),
    }


MISTAKES = {
    "an unknown verb": ("fly", "unknown verb 'fly'; choose one of quickstart, prepare, pretrain, finetune, evaluate"),
    "an unknown flag": ("pretrain --data DATA --out NEW --colour red", "--colour"),
    "an unknown field": ("pretrain --data DATA --out NEW --tower.colour red", "colour"),
    "a bad value": ("pretrain --data DATA --out NEW --tower.num_layers many", "num_layers"),
    "a bad choice": ("pretrain --data DATA --out NEW --tower.fusion late", "fusion"),
    "an unknown form of interaction": (
        "finetune --data DATA --out NEW --ranker.interaction typo",
        "ranker.interaction ('typo') must be one of input, dot,",
    ),
    "a setting that a form does not read": (
        'finetune --data DATA --out NEW --ranker.interaction {"form":"dot","layers":3}',
        "ranker.interaction: dot does not read 'layers'; it has no settings.",
    ),
    "a setting that has moved": (
        "finetune --data DATA --out NEW --ranker.cross_rank 3",
        "cross_rank is now set in `ranker.interaction: {parallel: [input, {form: dcn_v2_low_rank, ",
    ),
    "a setting of a recipe that has moved": (
        "pretrain --data DATA --out NEW --config OLDER",
        "cross_layers is now set in `ranker.interaction: ",
    ),
    "a dropout that has another name": (
        "finetune --data DATA --out NEW --cold_start.dropout_under_7_days 0.5",
        "dropout_under_7_days is now set in `--cold_start.dropout_young`. ",
    ),
    "ages that are none": (
        "evaluate FINETUNED --data DATA --item-age-thresholds [4h,1h]",
        "item_age_thresholds ([4h, 1h]) must be two ages that ascend, in s, min, h or d; write such as",
    ),
    "a value out of range": ("pretrain --data DATA --out NEW --tower.dropout 1.5", "tower.dropout (1.5) must lie in"),
    "an unknown recipe": ("pretrain --data DATA --out NEW --config atlantis", "neither a file nor a shipped recipe"),
    "a recipe that is no YAML": ("pretrain --data DATA --out NEW --config BROKEN", "broken.yaml"),
    "a recipe with an unknown field": ("pretrain --data DATA --out NEW --config UNKNOWN", "colour"),
    "no --data": ("pretrain --out NEW", "data"),
    "no --out": ("finetune --data DATA", "out"),
    "--out holds a run": ("pretrain --config CONFIG --data DATA --out PRETRAINED", "holds a run already"),
    "--out holds what is left of a run": (
        "finetune --config CONFIG --data DATA --out LOST",
        "has checkpoints and no manifest.json, so no run goes on there; put the manifest back",
    ),
    "a run without its manifest to go on with": (
        "finetune --config CONFIG --data DATA --out LOST --resume",
        "has checkpoints and no manifest.json",
    ),
    "a log that is none": (
        "finetune --config CONFIG --data DATA --out LOGGED --pretrained PRETRAINED --resume",
        "metrics.jsonl has a line that no training wrote",
    ),
    "a pretrained run with half a shard": (
        "finetune --config CONFIG --data DATA --out NEW --pretrained CUT",
        "__0_0.distcp was changed after it was written",
    ),
    "a pretrained run with half a list of shards": (
        "finetune --config CONFIG --data DATA --out NEW --pretrained CUT_MAP",
        ".metadata was changed after it was written",
    ),
    "batch size and streams": (
        "pretrain --config CONFIG --data DATA --out NEW --pretrain.batch_size 6",
        "pretrain.batch_size (6) must be a multiple of --data_streams (4)",
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
    "no heads in common with the pretrained tower": (
        "finetune --config CONFIG --data DATA --out NEW --pretrained PRETRAINED --tower.num_heads 1",
        "was pretrained with --tower.num_heads 2, not 1",
    ),
    "a pretrained run for no tower": (
        "finetune --config CONFIG --data DATA --out NEW --pretrained PRETRAINED --use_tower false",
        "use_tower is false, so nothing would be taken from --pretrained",
    ),
    "a frozen tower that nothing trained": (
        "finetune --config CONFIG --data DATA --out NEW --finetune.freeze_tower true",
        "finetune.freeze_tower keeps the tower as it is, which is random; give --pretrained",
    ),
    "tables for no memory": (
        "pretrain --config CONFIG --data DATA --out NEW --item_table.rows 1000000000000",
        "GiB with their optimizer, and 1 rank(s) have",
    ),
    "a seed too large": ("pretrain --config CONFIG --data DATA --out NEW --seed 4294967296", "must be below 2**32"),
    "a form within hundreds of others": (
        f"finetune --data DATA --out NEW --ranker.interaction {NESTED}",
        "nested too deep to be read; write them flat",
    ),
    "a part of a config that is null": ("pretrain --config NULL --data DATA --out NEW", "cold_start"),
    "a config that is no text": ("pretrain --config REQUESTS --data DATA --out NEW", "can't be read"),
    "a file for a run folder": ("pretrain --config CONFIG --data DATA --out UNKNOWN", "give another path"),
    "a model for a run": ("evaluate MODEL --data DATA", "manifest.json is not that of a run"),
    "a torn manifest": ("evaluate TORN --data DATA", "manifest.json is not that of a run"),
    "a checkpoint that is not whole": ("evaluate UNWHOLE --data DATA", "is not whole (it has no .metadata); move it"),
    "a checkpoint with half a shard": ("evaluate CUT --data DATA", "__0_0.distcp was changed after it was written"),
    "a checkpoint in which a byte has changed": ("export FLIPPED --out NEW", "__0_0.distcp was changed after it was"),
    "a run to go on with in which a byte has changed": (
        "finetune --config CONFIG --data DATA --out FLIPPED --pretrained PRETRAINED --resume",
        "__0_0.distcp was changed after it was written",
    ),
    "a dataset that is not whole": ("pretrain --config CONFIG --data HALF --out NEW", "items.parquet can't be read"),
    "a dataset with half a description": ("evaluate FINETUNED --data QUARTER", "dataset.json lacks a part"),
    "a report where there is a folder": ("evaluate FINETUNED --data DATA --report EMPTY", "can't be written"),
    "a report over a file that is read": (
        "prepare events UNKNOWN --actions click --out NEW --report UNKNOWN",
        "would write over input (",
    ),
    "a report over the requests": ("score MODEL REQUESTS --out NEW --report REQUESTS", "would write over requests ("),
    "a report over the output": ("score MODEL REQUESTS --out NEW --report NEW", "would write over out ("),
    "a report within the output": (
        "pretrain --config CONFIG --data DATA --out NEW --report NEW/report.json",
        "lies within --out",
    ),
    "a report over a file of a run": (
        "evaluate FINETUNED --data DATA --report FINETUNED/manifest.json",
        "would write over a file of run (",
    ),
    "a report over the config of a plan": (
        "plan --config UNSPOILT --world-size 1 --report UNSPOILT",
        "would write over config (",
    ),
    "a report over the config of a pretraining": (
        "pretrain --config UNSPOILT --data DATA --out NEW --report UNSPOILT",
        "would write over config (",
    ),
    "a report over the config of a fine-tuning": (
        "finetune --config UNSPOILT --data DATA --out NEW --report UNSPOILT",
        "would write over config (",
    ),
    "a report over the config of a quickstart": (
        "quickstart --config UNSPOILT --out NEW --report UNSPOILT",
        "would write over config (",
    ),
    "a path of an object store": ("evaluate s3://runs/1 --data DATA", "s3://runs/1 is no local path; only local files"),
    "a flag with such a path": ("pretrain --data=gs://a/b --out NEW", "gs://a/b is no local path"),
    "a report where no folder can be": ("evaluate FINETUNED --data DATA --report /proc/x/y.json", "can't be written"),
    "a model where nothing can be written": ("export FINETUNED --out /proc/model", "choose another --out"),
    "a path that is too long": (f"export FINETUNED --out {'m' * 300}", "give another path"),
    "scores over the requests": ("score MODEL REQUESTS --out REQUESTS", "must be a file of its own"),
    "scores for a folder": ("score MODEL REQUESTS --out EMPTY", "must be a file of its own"),
    "a quickstart over something else": ("quickstart --out DATA", "is not empty; give another --out"),
    "a quickstart without a recipe": ("quickstart --out NEW --config atlantis", "neither a file nor a shipped recipe"),
    "not a run to export": ("export EMPTY --out NEW", "is not a run folder"),
    "a run that ranks nothing": ("export PRETRAINED --out NEW", "ranks nothing"),
    "an export that exists": ("export FINETUNED --out DATA", "exists and is not an empty folder"),
    "not a model": ("score EMPTY REQUESTS --out NEW", "is not a model folder"),
    "no requests": ("score MODEL nowhere.parquet --out NEW", "nowhere.parquet does not exist"),
    "requests that are no Parquet": ("score MODEL BROKEN --out NEW", "broken.yaml"),
    "a batch of nothing": ("score MODEL REQUESTS --out NEW --batch-size 0", "batch"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(places, capsys, tmp_path, mistake):
    line, sentence = MISTAKES[mistake]
    words = [word.partition("/") for word in line.split()]
    assert main(["".join((places.get(head, head), slash, rest)) for head, slash, rest in words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pinfm: ")
    assert told.count("\n") == 1
    assert sentence in told
    assert "Traceback" not in told
    assert not (tmp_path / "new").exists()


def test_a_reader_that_has_gone_is_no_traceback():
    pinfm = Path(sys.executable).with_name("pinfm")
    with subprocess.Popen([pinfm, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 1)


def test_a_gpu_that_is_not_there(places, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = "pretrain --config CONFIG --data DATA --out NEW --device cuda"
    assert main([places.get(word, word) for word in line.split()]) == 2
    assert "device is `cuda`, but torch sees no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_process_without_a_gpu_of_its_own_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("cuda") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match=r"process 2 of this machine has no GPU of its own, torch sees 2; start"):
        choose_device("auto")


def test_the_first_process_alone_writes_the_report(tmp_path, monkeypatch):
    words = ["prepare", "simulate", "--num-users", "5", "--num-items", "20", "--num-days", "3", "--num-buckets", "1"]
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        report = tmp_path / f"{rank}.json"
        assert main([*words, "--out", str(tmp_path / f"data-{rank}"), "--report", str(report)]) == 0
        assert report.exists() == (rank == "0")


def test_streams_that_the_processes_do_not_divide(places, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("pinfm.train.loader.feed.dist.get_world_size", lambda group=None: 3)
    line = "pretrain --config CONFIG --data DATA --out NEW"
    assert main([places.get(word, word) for word in line.split()]) == 2
    assert "data_streams (4) must be a multiple of the number of processes (3)" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_help_lists_the_verbs_in_the_order_of_the_road(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    verbs = ["quickstart", "prepare", "pretrain", "finetune", "evaluate", "export", "score", "plan"]
    places = [printed.index(f"  {verb} ") for verb in verbs]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "verb", ["quickstart", "prepare", "pretrain", "finetune", "evaluate", "export", "score", "plan"]
)
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
