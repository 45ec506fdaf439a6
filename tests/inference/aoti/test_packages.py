"""A run exported with compiled packages: what is written, what it scores, and when it is refused."""

import json
import os
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs
import torch

import pinfm.inference.aoti.parity as parity_module
import pinfm.inference.aoti.write as write_module
from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.aoti.cpu import require_capability
from pinfm.inference.aoti.parity import check_packages
from pinfm.inference.artifact import sha256
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import ParityError
from pinfm.train.cli.main import main

TASKS = ["click", "save", "hide"]
SOURCES = Path(__file__).parents[3] / "inference" / "cpp"
FLAGS = ["--format", "torchscript,aoti"]
pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling packages takes g++")


@pytest.fixture(scope="module")
def model(root, finetuned):
    """The fine-tuned run with packages."""
    folder = root / "model_with_packages"
    assert main(["export", str(finetuned), "--out", str(folder), *FLAGS]) == 0
    return folder


@pytest.fixture(scope="module")
def requests(finetuned):
    return pd.read_parquet(finetuned / "requests.parquet")


def test_the_manifest_says_what_was_compiled_and_how_far_it_is_from_the_run(model, requests):
    listed = json.loads((model / "manifest.json").read_text())["aoti"]
    files = ["cross.pt2", "encode.pt2", "pieces.pt", "rank.pt2"]
    assert sorted(path.name for path in (model / "aoti").iterdir()) == ["crc32", *files]
    assert listed["sha256"] == {name: sha256(model / "aoti" / name) for name in listed["sha256"]}
    assert sorted(listed["sha256"]) == files
    assert (model / "aoti" / "crc32").read_text().splitlines()[-1].endswith(" ../scoring.pt")
    assert listed["cpu"] == torch.backends.cpu.get_cpu_capability()
    assert listed["bounds"]["events"] == 8
    assert listed["parity"]["rows"] == sum(len(cell) for cell in requests["candidate_item_id"])
    assert listed["parity"]["max_abs_diff"] <= 1e-6


def test_scores_are_those_of_torchscript(model, requests):
    """Ragged requests; histories that are too long, and none; no candidates, and more than a block takes."""
    lists, asked = lists_of(model, "history"), lists_of(model, "candidate")
    ragged = requests.assign(**{name: [np.resize(cell, 2 * len(cell)) for cell in requests[name]] for name in asked})
    for row in (1, 2):
        for name in lists:
            ragged.at[row, name] = ragged.at[row, name][:0]
    for name in asked:
        ragged.at[2, name] = np.resize(ragged.at[2, name], (1500, *np.shape(ragged.at[2, name])[1:]))
        ragged.at[3, name] = ragged.at[3, name][:0]
    for name in lists:
        ragged.at[4, name] = np.concatenate([ragged.at[4, name][:1].repeat(40), ragged.at[4, name]])
    whole, compiled = load(model), load(model, format="aoti")
    expected, found = whole.score(ragged), compiled.score(ragged)
    assert (expected["request"] == 2).sum() == 1500
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-6)
    assert found["click"].nunique() > 20
    # Whatever comes with it, a request has the same scores.
    alone = pd.concat([compiled.score(ragged.iloc[[row]], first_row=row) for row in range(5)], ignore_index=True)
    pd.testing.assert_frame_equal(alone, found[found["request"] < 5], rtol=0, atol=1e-6)


def test_nothing_but_requests_without_candidates(model, requests):
    asked = lists_of(model, "candidate")
    nothing = requests.head(3).assign(**{name: [cell[:0] for cell in requests[name].head(3)] for name in asked})
    assert load(model, format="aoti").score(nothing).empty


def test_a_difference_from_the_run_is_refused(model, requests):
    module, packages = load(model), load(model, format="aoti")
    changed = requests.copy(deep=True)
    changed["expected_save"] = [cell + np.float32(3e-6) for cell in requests["expected_save"]]
    with pytest.raises(ParityError, match=r"differ by up to .*e-06 \(limit 1e-06\), so nothing was written"):
        check_packages(module, packages, changed, exact_tables=True)
    assert check_packages(module, packages, changed, exact_tables=False)["max_abs_diff"] <= 1e-6
    wrong = replace(packages, compiled=lambda inputs: {t: p + 3e-6 for t, p in packages.compiled(inputs).items()})
    with pytest.raises(ParityError, match="run, TorchScript and compiled packages differ"):
        check_packages(module, wrong, requests, exact_tables=False)


def test_packages_that_differ_leave_nothing_behind(model, finetuned, tmp_path, monkeypatch, capsys):
    def copied(_, folder):
        shutil.copytree(model / "aoti", folder / "aoti")
        return json.loads((model / "manifest.json").read_text())["aoti"]

    monkeypatch.setattr(write_module, "write_packages", copied)
    monkeypatch.setattr(parity_module, "MAX_ABS_DIFF", -1.0)
    assert main(["export", str(finetuned), "--out", str(tmp_path / "model"), *FLAGS]) == 2
    assert "so nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: flip_a_byte(folder / "aoti" / "rank.pt2"), r"rank\.pt2 was changed after its export \(sha256"),
        (lambda folder: (folder / "aoti" / "cross.pt2").unlink(), r"cross\.pt2 is missing; copy the whole"),
        (
            lambda folder: edit(folder, lambda listed: listed.update(cpu="SVE256")),
            "was compiled for processors with SV",
        ),
        (
            lambda folder: edit(folder, None),
            "holds no compiled packages; export the run with --format torchscript,aoti",
        ),
    ],
)
def test_a_folder_that_can_not_be_run_is_refused(model, tmp_path, spoil, sentence):
    copied = shutil.copytree(model, tmp_path / "model")
    spoil(copied)
    with pytest.raises(UserError, match=sentence):
        load(copied, format="aoti")
    load(copied)  # TorchScript goes on


def test_a_processor_with_more_instructions_runs_what_was_compiled_for_fewer(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    require_capability("DEFAULT", "it")
    require_capability("AVX2", "it")
    with pytest.raises(UserError, match=r"it was compiled for processors with AVX512, this one has AVX2; export the"):
        require_capability("AVX512", "it")


def test_an_unknown_format_is_refused(model):
    with pytest.raises(UserError, match="format \\('onnx'\\) must be one of torchscript, aoti"):
        load(model, format="onnx")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"adapt": "trust"}, "--adapt is trust; give --adapt none, or --format torchscript"),
        (
            {"dense_precision": "bf16"},
            "--dense-precision is bf16; give --dense-precision fp32, or --format torchscript",
        ),
    ],
)
def test_what_packages_can_not_do_is_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        ExportOptions(format="torchscript,aoti", **options)


def test_a_missing_compiler_is_named(finetuned, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert main(["export", str(finetuned), "--out", str(tmp_path / "model"), *FLAGS]) == 2
    assert "compiles with no-such-compiler, which is not there; install it" in capsys.readouterr().err


@pytest.fixture(scope="module")
def score(root):
    """Runs the built program."""
    if shutil.which("cmake") is None:
        pytest.skip("building the predictor takes cmake")
    build, target = root / "cpp_aoti", ["--target", "pinfm_aoti_score"]
    for words in (["-S", SOURCES, "-B", build, f"-DTORCH={torch.__path__[0]}"], ["--build", build, *target]):
        subprocess.run(["cmake", *words], check=True, timeout=runs.HANGS)

    def run(*words, **variables):
        command = [build / "aoti" / "pinfm_aoti_score", *words]
        env = {**os.environ, **variables}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=runs.HANGS)

    return run


@pytest.mark.slow
def test_a_cpp_host_gives_the_scores_of_python(score, model, requests, tmp_path):
    scorer = load(model, format="aoti")
    asked = lists_of(model, "candidate")
    many = requests.assign(
        **{name: [np.resize(cell, (600, *np.shape(cell)[1:])) for cell in requests[name]] for name in asked}
    )
    torch.save(scorer.inputs(many), tmp_path / "inputs.pt")
    done = score(model, tmp_path / "inputs.pt", tmp_path / "scores.csv")
    assert (done.returncode, done.stderr) == (0, "")
    expected, found = scorer.score(many), pd.read_csv(tmp_path / "scores.csv")
    assert len(found) == 600 * len(many)
    pd.testing.assert_frame_equal(found, expected[found.columns], check_dtype=False, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_cpp_host_says_in_one_sentence_what_is_wrong(score, model, exported, finetuned, requests, tmp_path):
    inputs = load(model).inputs(requests)
    torch.save(inputs, tmp_path / "inputs.pt")
    names = ("changed", "torn", "unlisted", "foreign", "stale")
    changed, torn, unlisted, foreign, stale = (shutil.copytree(model, tmp_path / name) for name in names)
    flip_a_byte(changed / "aoti" / "encode.pt2")
    (torn / "aoti" / "rank.pt2").unlink()
    (unlisted / "aoti" / "crc32").write_text(f"{zlib.crc32(b'no'):08x} pieces.pt\n")
    (foreign / "aoti" / "crc32").write_text(f"{zlib.crc32(b'no'):08x} rank.pt2\n")
    for path in (unlisted / "aoti" / "pieces.pt", foreign / "aoti" / "rank.pt2"):
        path.write_bytes(b"no")
    export(finetuned, tmp_path / "other", ExportOptions(precision="int8", max_auc_loss=1))
    for name in ("scoring.pt", "scoring.crc32"):
        shutil.copy(tmp_path / "other" / name, stale / name)
    torch.save({**inputs, "user_id": inputs["user_id"][:0]}, tmp_path / "wrong.pt")
    for folder, given, sentence in (
        (exported, "inputs.pt", "aoti holds no compiled packages; export the run with --format torchscript,aoti."),
        (changed, "inputs.pt", "encode.pt2 was changed after its export (CRC-32 differs)"),
        (torn, "inputs.pt", "rank.pt2 is missing; copy the whole model folder"),
        (unlisted, "inputs.pt", "crc32 lists no whole model; copy the whole folder"),
        (foreign, "inputs.pt", "rank.pt2 can't be loaded ("),
        (stale, "inputs.pt", "scoring.pt was changed after its export (CRC-32 differs)"),
        (model, "wrong.pt", "the inputs can't be scored: user_id has 0 values for "),
    ):
        done = score(folder, tmp_path / given, tmp_path / "scores.csv")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert sentence in done.stderr
    done = score(model, tmp_path / "inputs.pt", tmp_path / "scores.csv", ATEN_CPU_CAPABILITY="default")
    here = torch.backends.cpu.get_cpu_capability()
    assert done.returncode == 2
    assert f"encode.pt2 was compiled for processors with {here}, this one has DEFAULT; export" in done.stderr
    assert score(model).stderr.startswith("usage: pinfm_aoti_score MODEL INPUTS.pt SCORES.csv")


def lists_of(model, scope):
    """The inputs that are lists of events, or of candidates."""
    return [column.name for column in load(model).columns if column.scope == scope]


def flip_a_byte(path):
    values = bytearray(path.read_bytes())
    values[len(values) // 2] ^= 1
    path.write_bytes(values)


def edit(folder, change):
    """Changes the manifest's `aoti`, or takes it out."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if change is None:
        del manifest["aoti"]
    else:
        change(manifest["aoti"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
