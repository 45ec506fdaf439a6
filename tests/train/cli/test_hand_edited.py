"""Files that someone has edited, and flags that nobody means: each ends in one sentence, whatever the value."""

import copy
import json
import shutil

import pandas as pd
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.cli.main import main
from pinfm.train.data.info import DatasetInfo

WRONG = [None, "x", -1, 10**30, 1.5, float("nan"), [], {}, ["x"], [1], {"x": 1}, True]


def places(values, path=()):
    """Every part of a JSON value, of lists their first element."""
    yield path
    keys = values if isinstance(values, dict) else range(len(values))[:1] if isinstance(values, list) else ()
    for key in keys:
        yield from places(values[key], (*path, key))


def edits(values):
    """The value with each part dropped, and replaced by something else."""
    for path in places(values):
        for wrong in ["dropped", *WRONG]:
            edited = copy.deepcopy({"": values})
            *above, last = ("", *path)
            part = edited
            for key in above:
                part = part[key]
            if wrong != "dropped":
                part[last] = wrong
            elif above:
                del part[last]
            yield path, edited[""]


@pytest.mark.parametrize(
    ("run", "name", "read", "needed"),
    [
        ("finetuned", "manifest.json", RunFolder.open, {"kind", "config", "schema", "tables"}),
        ("dataset", "dataset.json", DatasetInfo.read, {"counts", "time_span", "schema", "splits", "format_version"}),
    ],
)
def test_an_edited_description_is_read_or_refused_in_a_sentence(run, name, read, needed, request, tmp_path):
    values = json.loads((request.getfixturevalue(run) / name).read_text())
    refused = {}
    for path, edited in edits(values):
        (tmp_path / name).write_text(json.dumps(edited))
        try:
            read(tmp_path)
        except UserError as error:
            refused[path] = str(error)
    assert [told for told in refused.values() if name not in told or "\n" in told] == []
    assert {(part,) for part in needed} <= refused.keys()


EDITS = {
    "a config that is null": (("config",), None),
    "a part of a config that is null": (("config", "finetune"), None),
    "a field of another version": (("config", "colour"), "red"),
    "a field of another kind": (("config", "tower", "dim"), "wide"),
    "a number that no machine holds": (("config", "tower", "dim"), 10**30),
    "an unknown kind": (("kind",), "unknown"),
    "a schema without actions": (("schema", "actions"), []),
    "a task that is a number": (("schema", "tasks"), [1]),
    "tables without an item": (("tables",), {"features": []}),
}


@pytest.mark.parametrize("verb", ["evaluate", "resume"])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_ends_in_a_sentence(finetuned, pretrained, dataset, capsys, tmp_path, verb, edit):
    (*above, last), value = EDITS[edit]
    manifest = json.loads((finetuned / "manifest.json").read_text())
    part = manifest
    for key in above:
        part = part[key]
    part[last] = value
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "checkpoints").symlink_to(finetuned / "checkpoints")
    resume = ["finetune", "--config", finetuned / "config.yaml", "--out", run, "--pretrained", pretrained, "--resume"]
    command = {"evaluate": ["evaluate", run], "resume": resume}[verb]
    assert_one_sentence(capsys, [*command, "--data", dataset])


@pytest.mark.parametrize("name", ["candidate_created_at", "history_timestamp", "expected_click", "label_click"])
@pytest.mark.parametrize("edit", ["shorter", "none", "number", "dropped"])
def test_kept_requests_that_were_edited_end_in_a_sentence(finetuned, capsys, tmp_path, name, edit):
    run = shutil.copytree(finetuned, tmp_path / "run")
    kept = pd.read_parquet(run / "requests.parquet")
    if edit == "dropped":
        kept = kept.drop(columns=name)
    elif edit == "number":
        kept[name] = 3
    else:
        longest = kept[name].map(len).idxmax()
        cells = kept[name].tolist()
        cells[longest] = None if edit == "none" else cells[longest][1:]
        kept[name] = cells
    kept.to_parquet(run / "requests.parquet")
    assert_one_sentence(capsys, ["export", run, "--out", tmp_path / "model"])
    assert not (tmp_path / "model").exists()


NUMBERS = ["-1", str(10**23), "nan", "inf", "x"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("flag", ["pretrain.epochs", "tower.dim", "item_table.rows", "seed", "tower.dropout"])
def test_an_absurd_number_ends_in_a_sentence(finetuned, dataset, capsys, tmp_path, flag, number):
    words = ["pretrain", "--config", finetuned / "config.yaml", "--data", dataset, "--out", tmp_path / "run"]
    assert_one_sentence(capsys, [*words, f"--{flag}={number}"])
    assert not (tmp_path / "run").exists()


def assert_one_sentence(capsys, command):
    assert main([str(word) for word in command]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pinfm: ")
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_an_address_within_a_config_is_told_with_its_slashes(tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("data: s3://bucket/dataset\n")
    assert main(["pretrain", "--config", str(config), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(
        "pinfm: s3://bucket/dataset is no local path; only local files and folders"
    )
