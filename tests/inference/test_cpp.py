"""The predictor for C++ hosts gives Python's scores, and says in one sentence what is wrong with a model folder."""

import itertools
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs
import torch
from bad_inputs import BAD_INPUTS

from pinfm.inference import load
from pinfm.inference.artifact import write_checksums
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.inference.requests.ids import text_id
from pinfm.train.cli.main import main

OLDER = "the model was exported by an older pinfm, which did not list its tables; export the run again."
WEIGHS_NOTHING = "the model weighs no events; export it with --adapt trust."
LOOSE = ["--max-auc-loss", "1"]
SOURCES = Path(__file__).parents[2] / "inference" / "cpp"
pytestmark = pytest.mark.skipif(
    not (shutil.which("cmake") and shutil.which("c++")), reason="building the predictor takes cmake and a C++ compiler"
)


@pytest.fixture(scope="module")
def score(root):
    """Runs the built program."""
    build = root / "cpp"
    for words in (["-S", SOURCES, "-B", build, f"-DTORCH={torch.__path__[0]}"], ["--build", build]):
        subprocess.run(["cmake", *words], check=True, timeout=runs.HANGS)

    def run(*words, program="pinfm_score", stdin=""):
        return subprocess.run(
            [build / program, *words], input=stdin, capture_output=True, text=True, timeout=runs.HANGS
        )

    return run


@pytest.fixture(scope="module", params=["whole", "apart"])
def model(root, finetuned, request):
    """The fine-tuned run in one layout."""
    folder = root / f"model_for_cpp_{request.param}"
    flags = ["--precision", "int4", "--layout", request.param, "--max-auc-loss", "1"]
    assert main(["export", str(finetuned), "--out", str(folder), *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def requests(finetuned):
    """The kept requests, their histories longer than the model reads."""
    frame = pd.read_parquet(finetuned / "requests.parquet")
    older = [name for name in frame if name.startswith("history_")]
    return frame.assign(
        **{name: [np.concatenate([cell[:1].repeat(40), cell]) for cell in frame[name]] for name in older}
    )


@pytest.fixture(scope="module")
def inputs(root, model, requests):
    """The requests as a file of tensors."""
    path = root / "inputs.pt"
    torch.save(load(model).inputs(requests), path)
    return path


def test_scores_are_those_of_python(score, model, inputs, requests, tmp_path):
    done = score(model, inputs, tmp_path / "scores.csv")
    assert (done.returncode, done.stderr) == (0, "")
    expected, found = load(model).score(requests), pd.read_csv(tmp_path / "scores.csv")
    columns = ["item_id", "click", "hide", "save"]
    assert found.columns.tolist() == columns
    pd.testing.assert_frame_equal(found, expected[columns], check_dtype=False, rtol=0, atol=1e-6)


def test_what_is_retrieved_and_ranked_is_that_of_python(score, model, dataset, finetuned, requests, tmp_path):
    """Bit for bit where whole numbers are multiplied: the same items in the same order."""
    folder = shutil.copytree(model, tmp_path / "model")
    words = ["index", folder, "--items", dataset / "items.parquet", "--index-attributes", "[topic]"]
    assert main([str(word) for word in words]) == 0
    scorer, table = load(folder), pd.read_parquet(dataset / "items.parquet").sort_values("item_id")
    excluded = [cell[:2] for cell in requests["candidate_item_id"]]
    asked = requests.assign(exclude_item_id=excluded, filter_topic=[[], [1, 2]] * (len(requests) // 2))
    lists = {"exclude_item_id": "exclude_lengths", "filter_topic": "filter_topic_lengths"}
    inputs = scorer.inputs(requests)
    for name, lengths in lists.items():
        inputs[name] = torch.from_numpy(np.concatenate([np.asarray(cell, np.int64) for cell in asked[name]]))
        inputs[lengths] = torch.tensor([len(cell) for cell in asked[name]])
    items = {
        "candidate_item_id": torch.tensor(table["item_id"].to_numpy()),
        "candidate_created_at": torch.tensor(table["created_at"].to_numpy()),
        "candidate_content": torch.tensor(np.stack(table["content"].to_list()).astype(np.float32)),
        "topic": torch.tensor(table["topic"].to_numpy()),
        "position": torch.full((len(table),), 0.5),
    }
    torch.save(inputs, tmp_path / "inputs.pt")
    torch.save(items, tmp_path / "items.pt")

    def recommend():
        files = [folder, tmp_path / "inputs.pt", tmp_path / "items.pt", tmp_path / "found.csv"]
        return score(*files, "30", program="pinfm_recommend")

    done = recommend()
    assert (done.returncode, done.stderr) == (0, "")
    found = pd.read_csv(tmp_path / "found.csv")
    expected = scorer.recommend(asked, k=30, features=lambda found: pd.DataFrame({"position": [0.5] * len(found)}))
    assert set(found) == set(expected)
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False, rtol=0, atol=1e-6)
    torch.save({**inputs, "filter_topic": inputs["filter_topic"][:1]}, tmp_path / "inputs.pt")
    assert "the index can't be searched: filter_topic_lengths does not add up to the 1 values" in recommend().stderr
    shutil.copy(folder / "scoring.crc32", tmp_path / "kept")
    export(finetuned, tmp_path / "other", ExportOptions(precision="int8", max_auc_loss=1))
    for name in ("scoring.pt", "scoring.crc32"):
        shutil.copy(tmp_path / "other" / name, folder / name)
    done = recommend()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "index is of another scoring.pt than" in done.stderr
    (folder / "index" / "index.pt").unlink()
    assert "index is no exact index, which is what C++ searches; make it again with `pinfm index" in recommend().stderr
    shutil.rmtree(folder / "index")
    assert "the model has no index; make one with `pinfm index" in recommend().stderr


def test_dense_layers_in_int8_are_those_of_python(score, finetuned, requests, tmp_path):
    """They are packed as the file is loaded, by libtorch alone."""
    model = tmp_path / "model"
    assert main(["export", str(finetuned), "--out", str(model), "--dense-precision", "int8", *LOOSE]) == 0
    scorer = load(model)
    torch.save(scorer.inputs(requests), tmp_path / "inputs.pt")
    done = score(model, tmp_path / "inputs.pt", tmp_path / "scores.csv")
    assert (done.returncode, done.stderr) == (0, "")
    expected, found = scorer.score(requests), pd.read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(found, expected[found.columns], check_dtype=False, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", ["vectors", "trust"])
def test_histories_are_adapted_as_in_python(score, finetuned, requests, tmp_path, form):
    """Where autograd is off: the predictor scores in libtorch's InferenceMode."""
    model = tmp_path / "model"
    settings = {"vectors": "--vectors.radius=0.9", "trust": "--trust.threshold=0.5"}
    assert main(["export", str(finetuned), "--out", str(model), "--adapt", form, settings[form], *LOOSE]) == 0
    scorer = load(model)
    inputs = scorer.inputs(requests)
    torch.save(inputs, tmp_path / "inputs.pt")
    done = score(model, tmp_path / "inputs.pt", tmp_path / "scores.csv", tmp_path / "trust.csv")
    expected, found = scorer.score(requests), pd.read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(found, expected[found.columns], check_dtype=False, rtol=0, atol=1e-6)
    if form == "vectors":
        assert (done.returncode, done.stderr) == (2, f"the inputs can't be scored: {WEIGHS_NOTHING}\n")
        return
    assert (done.returncode, done.stderr) == (0, "")
    trust = pd.read_csv(tmp_path / "trust.csv")
    assert trust["item_id"].tolist() == inputs["history_item_id"].tolist()
    np.testing.assert_allclose(trust["trust"], scorer.module.trust(inputs), rtol=0, atol=1e-6)
    assert 0 < (trust["trust"] < 0.5).mean() < 1


def test_a_module_that_weighs_no_events_is_one_sentence(score, inputs, tmp_path):
    module = torch.jit.script(Older())
    module.save(tmp_path / "scoring.pt")
    done = score(sealed(tmp_path), inputs, tmp_path / "scores.csv", tmp_path / "trust.csv")
    sentence = "the model was exported by an older pinfm, which has no trust; export the run again.\n"
    assert (done.returncode, done.stderr) == (2, sentence)


@pytest.mark.parametrize("model", ["apart"], indirect=True)
def test_gaps_at_the_edges_of_buckets_are_those_of_python(score, model, requests, tmp_path):
    gaps = itertools.cycle([2**k - d for k in range(1, 20) for d in (0, 1, 2)])
    times = [
        now - np.cumsum([next(gaps) + 1 for _ in history])[::-1]
        for now, history in zip(requests["request_timestamp"], requests["history_timestamp"], strict=True)
    ]
    at_edges = requests.assign(history_timestamp=times)
    torch.save(load(model).inputs(at_edges), tmp_path / "inputs.pt")
    done = score(model, tmp_path / "inputs.pt", tmp_path / "scores.csv")
    assert (done.returncode, done.stderr) == (0, "")
    found, expected = pd.read_csv(tmp_path / "scores.csv"), load(model).score(at_edges)
    for task in ("click", "hide", "save"):
        np.testing.assert_allclose(found[task], expected[task], rtol=0, atol=1e-6)
    # Every gap counts: one second more moves some of them into other buckets, and with them the scores.
    moved = load(model).score(
        requests.assign(history_timestamp=[history - np.arange(len(history))[::-1] for history in times])
    )
    assert not np.allclose(moved["click"], expected["click"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["apart"], indirect=True)
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "scoring.pt").unlink(), "scoring.pt is missing; give a folder that `pinfm export`"),
        (
            lambda folder: flip_a_byte(folder / "scoring.pt", -5000),
            "scoring.pt was changed after its export (CRC-32 di",
        ),
        (lambda folder: (folder / "scoring.crc32").unlink(), "scoring.crc32 is missing or no checksum; copy the whole"),
        (lambda folder: (folder / "scoring.crc32").write_text("?"), "scoring.crc32 is missing or no checksum"),
        (lambda folder: table_of(folder).unlink(), "item_0.bin is missing; copy the whole model folder"),
        (lambda folder: table_of(folder).write_bytes(b"1"), "item_0.bin has 1 bytes, not 1200; copy the whole model"),
        (lambda folder: flip_a_byte(table_of(folder)), "item_0.bin was changed after its export (CRC-32 differs)"),
    ],
)
def test_a_damaged_model_is_one_sentence(score, model, inputs, tmp_path, spoil, sentence):
    copied = shutil.copytree(model, tmp_path / "model")
    spoil(copied)
    done = score(copied, inputs, tmp_path / "scores.csv")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


class Older(torch.nn.Module):
    """TorchScript of a pinfm that knew no adaptation."""

    table_files: list[tuple[str, str, int, int, str, int]]

    def __init__(self):
        super().__init__()
        self.table_files = []

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"click": torch.zeros(inputs["candidate_item_id"].size(0))}

    @torch.jit.export
    def place(self, name: str, rows: torch.Tensor) -> None:
        pass


class Foreign(torch.nn.Module):
    """TorchScript that lists a table of its own."""

    table_files: list[tuple[str, str, int, int, str, int]]

    def __init__(self, file="item_0.bin", rows=1, dtype="float32"):
        super().__init__()
        self.table_files = [("item_0", file, rows, 1, dtype, zlib.crc32(b"four"))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def place(self, name: str, rows: torch.Tensor) -> None:
        raise AssertionError("it was placed")


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (torch.nn.ReLU(), OLDER),
        (
            Foreign(dtype="float8"),
            "a table has values of type float8, which this predictor does not know; build the newest one.",
        ),
        *(
            (
                Foreign(rows=rows),
                "scoring.pt names a table (item_0.bin) of an impossible size; export the run again.",
            )
            for rows in (-1, 2**62)
        ),
    ],
)
def test_a_module_of_another_kind_is_one_sentence(score, inputs, tmp_path, module, sentence):
    (tmp_path / "item_0.bin").write_bytes(b"four")
    torch.jit.script(module).save(tmp_path / "scoring.pt")
    done = score(sealed(tmp_path), inputs, tmp_path / "scores.csv")
    assert (done.returncode, done.stderr) == (2, f"{sentence}\n")


@pytest.mark.parametrize("file", ["../outside.bin", "{outside}", "tables/../../outside.bin", "tables/link.bin"])
def test_a_table_outside_the_model_folder_is_not_opened(score, inputs, tmp_path, file):
    """The file is whole and its checksum right: it is refused for where it lies."""
    folder, outside = tmp_path / "model", tmp_path / "outside.bin"
    outside.write_bytes(b"four")
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "link.bin").symlink_to(outside)
    named = file.format(outside=outside)
    torch.jit.script(Foreign(named)).save(folder / "scoring.pt")
    done = score(sealed(folder), inputs, tmp_path / "scores.csv")
    sentence = f"scoring.pt names a table ({named}) outside the model folder; load only models that you trust.\n"
    assert (done.returncode, done.stderr) == (2, sentence)


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_what_python_refuses_is_refused_in_the_same_words(score, model, inputs, tmp_path, bad):
    given = torch.load(inputs)
    bad.spoil(given)
    torch.save(given, tmp_path / "spoilt.pt")
    done = score(model, tmp_path / "spoilt.pt", tmp_path / "scores.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("the inputs can't be scored: ")
    assert re.match(bad.sentence, done.stderr.removeprefix("the inputs can't be scored: "))
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "scores.csv").exists()


def test_text_ids_are_hashed_alike(score):
    texts = ["B00X", "0012", "12", " 12 ", "ключ", "x" * 200, "\u00a0B00X", "B00X\u3000", " \u2003 ", "\tB00X"]
    done = score(program="pinfm_text_ids", stdin="\n".join(texts))
    assert done.stdout.split() == [str(text_id(text)) for text in texts]
    assert done.stdout.split()[:3] == ["-6912554557872310600", "-7292529013824584575", "8886165682169645610"]
    assert (score(program="pinfm_text_ids", stdin="a\n  \n").stderr) == "an id must not be empty.\n"


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_unsigned_ids_are_shown_as_such(score, model, inputs, requests, tmp_path):
    """The module says that they are; here the attribute alone is changed."""
    copied = shutil.copytree(model, tmp_path / "model")
    module = torch.jit.load(copied / "scoring.pt")
    module.item_ids = "uint64"
    module.save(copied / "scoring.pt")
    given = torch.load(inputs)
    given["candidate_item_id"][0] = -1
    torch.save(given, tmp_path / "unsigned.pt")
    done = score(sealed(copied), tmp_path / "unsigned.pt", tmp_path / "scores.csv")
    assert done.stderr == ""
    assert pd.read_csv(tmp_path / "scores.csv", dtype=str)["item_id"][0] == str(2**64 - 1)


def test_a_file_that_is_no_torchscript_is_one_sentence(score, inputs, tmp_path):
    (tmp_path / "scoring.pt").write_bytes(b"PK")
    done = score(sealed(tmp_path), inputs, tmp_path / "scores.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "scoring.pt can't be loaded" in done.stderr


def test_files_that_can_not_be_read_or_written_are_one_sentence(score, model, inputs, tmp_path):
    broken, out = tmp_path / "broken.pt", tmp_path / "scores.csv"
    broken.write_text("no tensors")
    for words, sentence in (
        ([model], "usage: pinfm_score MODEL INPUTS.pt SCORES.csv"),
        ([model, tmp_path / "missing.pt", out], "missing.pt can't be read; give a file that torch.save wrote"),
        ([model, tmp_path, out], "can't be read; give a file that torch.save wrote"),
        ([model, broken, out], "broken.pt holds no dictionary of tensors; write it with torch.save"),
        ([model, inputs, tmp_path / "nowhere" / "scores.csv"], "scores.csv can't be written; give another path"),
    ):
        done = score(*words)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1


def sealed(folder):
    """The folder, with checksums of what stands in it."""
    (folder / "signature.json").touch()
    write_checksums(folder)
    return folder


def table_of(folder):
    return folder / "tables" / "item_tables.item_0.bin"


def flip_a_byte(path, place=7):
    values = bytearray(path.read_bytes())
    values[place] ^= 1
    path.write_bytes(values)
