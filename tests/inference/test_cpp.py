"""The predictor for C++ hosts gives Python's scores, and says in one sentence what is wrong with a model folder."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch

from pinfm.inference import load
from pinfm.inference.requests import to_inputs
from pinfm.train.cli.main import main

SOURCES = Path(__file__).parents[2] / "inference" / "cpp"
pytestmark = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("c++")), reason="building the predictor takes cmake and a C++ compiler"
)


@pytest.fixture(scope="module")
def score(root):
    """Runs the built program."""
    build = root / "cpp"
    for words in (["-S", SOURCES, "-B", build, f"-DTORCH={torch.__path__[0]}"], ["--build", build]):
        subprocess.run(["cmake", *words], check=True, capture_output=True, timeout=600)

    def run(*words):
        return subprocess.run([build / "pinfm_score", *words], capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="module", params=["whole", "apart"])
def model(root, finetuned, request):
    """The fine-tuned run in one layout."""
    folder = root / f"model_for_cpp_{request.param}"
    flags = ["--precision", "int4", "--layout", request.param, "--max-auc-loss", "1"]
    assert main(["export", str(finetuned), "--out", str(folder), *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def inputs(root, model, finetuned):
    """The kept requests as a file of tensors."""
    path = root / "inputs.pt"
    torch.save(to_inputs(pd.read_parquet(finetuned / "requests.parquet"), load(model).columns), path)
    return path


def test_scores_are_those_of_python(score, model, inputs, finetuned, tmp_path):
    done = score(model, inputs, tmp_path / "scores.csv")
    assert (done.returncode, done.stderr) == (0, "")
    expected = load(model).score(pd.read_parquet(finetuned / "requests.parquet"))
    found = pd.read_csv(tmp_path / "scores.csv")
    columns = ["item_id", "click", "hide", "save"]
    assert found.columns.tolist() == columns
    pd.testing.assert_frame_equal(found, expected[columns], check_dtype=False, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["apart"], indirect=True)
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "scoring.pt").unlink(), "scoring.pt is missing; give a folder that `pinfm export`"),
        (lambda folder: (folder / "scoring.pt").write_bytes(b"PK"), "scoring.pt can't be loaded"),
        (lambda folder: table_of(folder).unlink(), "item_0.bin is missing; copy the whole model folder"),
        (lambda folder: table_of(folder).write_bytes(b"1"), "item_0.bin has 1 bytes, not 1200; copy the whole model"),
        (lambda folder: flip_a_byte(table_of(folder)), r"item_0.bin was changed after its export (CRC-32 differs)"),
    ],
)
def test_a_damaged_model_is_one_sentence(score, model, inputs, tmp_path, spoil, sentence):
    copied = shutil.copytree(model, tmp_path / "model")
    spoil(copied)
    done = score(copied, inputs, tmp_path / "scores.csv")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_mistakes_are_one_sentence(score, model, tmp_path):
    (tmp_path / "no_tensors.pt").write_text("no tensors")
    for words, sentence in (
        ([model], "usage: pinfm_score MODEL INPUTS.pt SCORES.csv"),
        (
            [model, tmp_path / "none.pt", tmp_path / "out.pt"],
            "none.pt can't be read; give a file that torch.save wrote",
        ),
        ([model, tmp_path / "no_tensors.pt", tmp_path / "out.pt"], "no_tensors.pt holds no dictionary of tensors"),
    ):
        done = score(*words)
        assert done.returncode == 2
        assert sentence in done.stderr


def table_of(folder):
    return folder / "tables" / "item_tables.item_0.bin"


def flip_a_byte(path):
    values = bytearray(path.read_bytes())
    values[7] ^= 1
    path.write_bytes(values)
