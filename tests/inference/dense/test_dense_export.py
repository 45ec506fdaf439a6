"""`pinfm export --dense-precision int8`: checked, told in the manifest, and served wherever TorchScript is."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import runs
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.cli.export import NOT_FASTER
from pinfm.inference.dense import plan as plan_module
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import MAX_ABS_DIFF, ParityError, check_parity
from pinfm.train.cli.main import main

TASKS = ("click", "save", "hide")
LAYERS = [
    "tokens.phi_in.mlp.0",
    "tokens.phi_in.mlp.3",
    "fusion.dcat.blocks.0.query_key_value",
    "fusion.dcat.blocks.0.attention_out",
    "fusion.dcat.blocks.0.mlp.0",
    "fusion.dcat.blocks.0.mlp.2",
    "phi_out.mlp.0",
    "phi_out.mlp.3",
]
DENSE = ["--dense-precision", "int8", "--max-auc-loss", "1"]
# oneDNN as on a processor without VNNI.
OLDER = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
SCORE = """
import sys, torch
outputs = torch.jit.load(sys.argv[1])(torch.load(sys.argv[2]))
assert not [name for name in sys.modules if name.startswith("pinfm")]
torch.save(outputs, sys.argv[3])
"""


@pytest.fixture(scope="module")
def model(root, finetuned):
    folder = root / "model_in_int8"
    assert main(["export", str(finetuned), "--out", str(folder), *DENSE]) == 0
    return folder


@pytest.fixture(scope="module")
def requests(finetuned):
    return pd.read_parquet(finetuned / "requests.parquet")


def elsewhere(words, environment):
    """What a process of its own says."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=runs.HANGS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_manifest_tells_each_layer(model, requests, capsys):
    manifest = json.loads((model / "manifest.json").read_text())
    assert (manifest["precision"], manifest["dense_precision"]) == ("fp32", "int8")
    layers = manifest["dense_layers"]
    assert list(layers) == LAYERS
    for layer in layers.values():
        assert layer["low"] <= 0 < layer["high"]
        assert layer["mean_abs_change"] > 0
        assert layer["precision"] == ("int8" if layer["mean_abs_change"] <= plan_module.MOST_ALONE else "fp32")
    assert "int8" in [layer["precision"] for layer in layers.values()]
    scores = load(model).score(requests)
    expected = {task: np.concatenate(requests[f"expected_{task}"].to_list()) for task in TASKS}
    largest = max(np.abs(scores[task] - expected[task]).max() for task in TASKS)
    assert 1e-6 < largest == pytest.approx(manifest["parity"]["max_abs_diff"], abs=1e-6)
    assert set(manifest["parity"]["auc_change"]) == set(TASKS)


@pytest.mark.parametrize("environment", [{}, OLDER], ids=["this processor", "one without VNNI"])
def test_a_process_without_pinfm_scores(model, requests, tmp_path, environment):
    scorer = load(model)
    torch.save(scorer.inputs(requests), tmp_path / "inputs.pt")
    elsewhere(["-c", SCORE, model / "scoring.pt", tmp_path / "inputs.pt", tmp_path / "scores.pt"], environment)
    found, expected = torch.load(tmp_path / "scores.pt"), scorer.score(requests)
    for task in TASKS:
        # Floats round otherwise than bytes, and a number between two levels goes to the other one.
        np.testing.assert_allclose(found[task], expected[task], rtol=0, atol=5e-3 if environment else 1e-6)


def test_export_says_where_bytes_are_no_faster(finetuned, tmp_path):
    words = ["-m", "pinfm.train.cli.main", "export", finetuned, "--out", tmp_path / "model", *DENSE]
    assert NOT_FASTER in elsewhere(words, OLDER)


def test_a_score_alone_is_the_score_in_any_batch(model, requests):
    scorer = load(model)
    lists = [column.name for column in scorer.columns if column.scope == "candidate"]

    def scored(frame):
        return scorer.score(frame, batch_size=len(frame))

    @given(st.lists(st.integers(0, len(requests) - 1), min_size=1, max_size=40), st.data())
    def same(rows, data):
        batch = requests.iloc[rows]
        whole = scored(batch)
        asked = data.draw(st.integers(0, len(rows) - 1))
        place = data.draw(st.integers(0, len(batch["candidate_item_id"].iloc[asked]) - 1))
        alone = batch.iloc[[asked]].copy()
        for name in lists:
            alone[name] = [cell[place : place + 1] for cell in alone[name]]
        expected = whole[whole["request"] == asked].iloc[place]
        for task in TASKS:
            assert scored(alone)[task].item() == pytest.approx(expected[task], abs=1e-6)

    same()


@pytest.mark.parametrize("flags", [["--precision", "int4"], ["--precision", "int8", "--layout", "apart"]])
def test_tables_in_fewer_bits_too(finetuned, model, requests, tmp_path, flags, capsys):
    out = tmp_path / "model"
    assert main(["export", str(finetuned), "--out", str(out), *DENSE, *flags]) == 0
    assert "of the tower's 8 layers in int8" in capsys.readouterr().out
    rough, whole = load(out).score(requests), load(model).score(requests)
    for task in TASKS:
        assert 0 < np.abs(rough[task] - whole[task]).max() < 0.3


def test_events_that_nobody_trusts_are_dropped_as_in_float32(finetuned, requests, tmp_path):
    flags = ["--adapt", "trust", "--trust.threshold=0.5"]
    models = {}
    for name, dense in (("fp32", []), ("int8", DENSE[:2])):
        models[name] = tmp_path / name
        words = ["export", str(finetuned), "--out", str(models[name]), *flags, *dense, "--max-auc-loss", "1"]
        assert main(words) == 0
    whole, rough = load(models["fp32"]), load(models["int8"])
    inputs = whole.inputs(requests)
    trusted, roughly = whole.module.trust(inputs), rough.module.trust(inputs)
    assert 0 < (trusted < 0.5).float().mean() < 1
    torch.testing.assert_close(roughly, trusted, rtol=0, atol=0.05)
    # Where both drop the same events, scores are near.
    near = [np.abs(whole.score(requests)[task] - rough.score(requests)[task]) < 0.02 for task in TASKS]
    assert np.mean(near) > 0.9


def test_adapted_vectors_take_gradients_which_bytes_have_none_of():
    with pytest.raises(UserError, match=r"--adapt vectors takes gradients, .* give --dense-precision fp32, or --adapt"):
        ExportOptions(dense_precision="int8", adapt="vectors")


def test_a_run_without_a_tower_has_no_layers_to_round(finetuned, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["use_tower"] = False
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"use_tower: false, and --dense-precision int8 is of the tower's layers"):
        export(run, tmp_path / "model", ExportOptions(dense_precision="int8"))


def test_layers_whose_rounding_costs_too_much_stay_in_float32(finetuned, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan_module, "MOST_ALONE", 0.0)
    assert main(["export", str(finetuned), "--out", str(tmp_path / "model"), *DENSE]) == 0
    assert "0 of the tower's 8 layers in int8" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert {layer["precision"] for layer in manifest["dense_layers"].values()} == {"fp32"}
    assert manifest["parity"]["max_abs_diff"] < 1e-5


def test_what_costs_a_task_too_much_is_refused(model, requests, monkeypatch):
    monkeypatch.setitem(MAX_ABS_DIFF, "int8", 1.0)
    scorer = load(model)
    scores = scorer.score(requests)["click"].to_numpy()
    # Labels that the artefact gets all wrong and the run all right, with probabilities that are near each other.
    ends = np.cumsum(requests["candidate_item_id"].map(len))[:-1]
    wrong = requests.assign(
        label_click=np.split((scores <= np.median(scores)).astype(np.float32), ends),
        expected_click=np.split(scores.mean() - 1e-3 * (scores - scores.mean()), ends),
    )
    of_both = r"tables in int4 and dense layers in int8 change .* more bits with --precision and --dense-precision"
    for options, sentence in (
        (ExportOptions(dense_precision="int8"), r"^dense layers in int8 change the AUC of click by -1\.0000"),
        (ExportOptions(dense_precision="int8", precision="int4"), of_both),
    ):
        with pytest.raises(ParityError, match=sentence):
            check_parity(scorer, wrong, options)
    check_parity(scorer, wrong, ExportOptions(dense_precision="int8", max_auc_loss=1.0))
