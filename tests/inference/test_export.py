"""What export writes, and when it refuses to."""

import json
import shutil
import zipfile
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq
import pytest
import runs
import torch

import pinfm.inference.export as export_module
import pinfm.inference.parity as parity_module
from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.artifact import sha256
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import BATCH_SIZE, ParityError, check_parity
from pinfm.train.cli.main import main
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place

TASKS = ["click", "save", "hide"]
FILES = ["manifest.json", "scoring.crc32", "scoring.pt", "signature.json"]


@pytest.fixture
def requests(finetuned):
    return pd.read_parquet(finetuned / "requests.parquet")


def test_the_folder_says_what_it_is(exported, finetuned, requests):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert sorted(path.name for path in exported.iterdir()) == FILES
    assert manifest["sha256"] == {name: sha256(exported / name) for name in ("scoring.pt", "signature.json")}
    assert manifest["parity"]["rows"] == sum(len(cell) for cell in requests["candidate_item_id"])
    assert 0 <= manifest["parity"]["max_abs_diff"] <= 1e-5
    run = json.loads((finetuned / "manifest.json").read_text())
    assert manifest["source_run"]["config"] == run["config"]
    signature = json.loads((exported / "signature.json").read_text())
    assert signature["tasks"] == TASKS
    columns = {column["name"]: column for column in signature["inputs"]}
    assert columns["history_action"]["vocabulary"] == ["click", "save", "hide"]
    assert columns["candidate_content"]["width"] == 4
    assert columns["surface"]["vocabulary"] == ["home", "related", "search"]
    assert set(requests["surface"]) == {"home", "related", "search"}
    assert set(columns) <= set(requests)


def test_the_kept_requests_are_scored_as_the_run_scored_them(exported, requests):
    scores = load(exported).score(requests)
    for task in TASKS:
        expected = np.concatenate(requests[f"expected_{task}"].to_list())
        np.testing.assert_allclose(scores[task], expected, atol=1e-5)
        assert scores[task].nunique() > 20  # a constant would agree with itself


@pytest.mark.parametrize(("change", "refused"), [(5e-6, False), (2e-5, True), (-2e-5, True), (np.nan, True)])
def test_parity_is_refused_above_the_limit(exported, requests, change, refused):
    scorer = load(exported)
    scores = scorer.score(requests, BATCH_SIZE)
    ends = np.cumsum(requests["candidate_item_id"].map(len))[:-1]
    for task in TASKS:
        requests[f"expected_{task}"] = np.split(scores[task].to_numpy(copy=True), ends)
    exact = check_parity(scorer, requests, ExportOptions())
    errors = exact.pop("auc_change_error")
    assert exact == {"max_abs_diff": 0.0, "rows": len(scores), "auc_change": dict.fromkeys(TASKS, 0.0)}
    assert set(errors) == set(TASKS)
    assert set(errors.values()) <= {0.0, None}
    requests["expected_save"].iloc[-1][0] += change
    if not refused:
        assert check_parity(scorer, requests, ExportOptions())["max_abs_diff"] == pytest.approx(change, rel=0.01)
        return
    with pytest.raises(ParityError, match=r"differs from the run by .* so nothing was written"):
        check_parity(scorer, requests, ExportOptions())


def test_the_dense_part_in_bf16(finetuned, exported, requests, tmp_path):
    assert main(["export", str(finetuned), "--out", str(tmp_path / "model"), "--dense-precision", "bf16"]) == 0
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert (manifest["precision"], manifest["dense_precision"]) == ("fp32", "bf16")
    assert 1e-5 < manifest["parity"]["max_abs_diff"] < 2e-2
    dtypes = {parameter.dtype for parameter in load(tmp_path / "model").module.parameters()}
    assert dtypes <= {torch.float32, torch.bfloat16}
    half, full = (load(model).score(requests) for model in (tmp_path / "model", exported))
    for task in TASKS:
        assert half[task].dtype == np.float32
        assert 0 < (half[task] - full[task]).abs().max() < 2e-2


def tensor_bytes(path):
    """Of the tensors in TorchScript: rows of tables, and constants."""
    with zipfile.ZipFile(path) as file:
        return sum(part.file_size for part in file.infolist() if part.filename.split("/")[1] in ("data", "constants"))


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_tables_in_fewer_bits(finetuned, exported, requests, tmp_path, precision, capsys):
    out = tmp_path / "model"
    flags = ["--precision", precision, "--max-auc-loss", "0.5"]
    assert main(["export", str(finetuned), "--out", str(out), *flags]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["precision"] == precision
    assert 0 < manifest["parity"]["max_abs_diff"] < 0.2
    assert set(manifest["parity"]["auc_change"]) == set(TASKS)
    assert "against fp32: click " in capsys.readouterr().out
    small, whole = (tensor_bytes(path / "scoring.pt") for path in (out, exported))
    every_half = 1 << 17 if precision == "int8" else 0  # the bytes of one more buffer
    assert small - every_half < whole
    scores = load(out).score(requests)
    expected = {task: np.concatenate(requests[f"expected_{task}"].to_list()) for task in TASKS}
    largest = max(np.abs(scores[task] - expected[task]).max() for task in TASKS)
    assert largest == pytest.approx(manifest["parity"]["max_abs_diff"], abs=1e-6)


def test_tables_that_cost_too_much_are_refused(exported, requests):
    scorer = load(exported)
    scores = scorer.score(requests)["click"].to_numpy()
    # Labels that the artefact gets all wrong and the run all right, with probabilities that are near each other.
    ends = np.cumsum(requests["candidate_item_id"].map(len))[:-1]
    requests["label_click"] = np.split((scores <= np.median(scores)).astype(np.float32), ends)
    requests["expected_click"] = np.split(scores.mean() - 1e-3 * (scores - scores.mean()), ends)
    with pytest.raises(
        ParityError, match=r"in int4 change the AUC of click by -1\.0000 .*allow it with --max-auc-loss"
    ):
        check_parity(scorer, requests, ExportOptions(precision="int4"))
    check_parity(scorer, requests, ExportOptions(precision="int4", max_auc_loss=1.0))
    with pytest.raises(UserError, match="max_auc_loss"):
        ExportOptions(max_auc_loss=-0.1)


@pytest.mark.parametrize(("limit", "refused"), [(0.0099, True), (0.0101, False)])
@pytest.mark.parametrize(("error", "told"), [(0.02, "± 0.0200"), (None, r"\(too few to tell\)")])
def test_a_loss_up_to_the_limit_is_allowed(exported, requests, monkeypatch, limit, refused, error, told):
    monkeypatch.setattr(parity_module, "auc_change", lambda *_: -0.01)
    monkeypatch.setattr(parity_module, "jackknife_error", lambda *_: error)
    options = ExportOptions(precision="int4", max_auc_loss=limit)
    with pytest.raises(ParityError, match=rf"AUC of click by -0\.0100 {told}") if refused else nullcontext():
        check_parity(load(exported), requests, options)


@pytest.mark.parametrize("column", ["label_save", "expected_click"])
def test_requests_of_an_older_run_are_named(exported, requests, column):
    with pytest.raises(UserError, match=rf"has no {column}, as of an older pinfm; fine-tune again"):
        check_parity(load(exported), requests.drop(columns=column), ExportOptions())


def test_a_wrong_weight_writes_nothing(finetuned, tmp_path, monkeypatch):
    right = export_module.scoring_module

    def wrong(run, options):
        module = right(run, options)
        with torch.no_grad():
            next(module.model.ranker.parameters()).add_(0.1)
        return module

    monkeypatch.setattr(export_module, "scoring_module", wrong)
    with pytest.raises(ParityError, match="limit 1e-05"):
        export(finetuned, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_export_and_score_on_the_command_line(finetuned, tmp_path, requests, capsys, exported):
    model, report = tmp_path / "model", tmp_path / "report.json"
    assert main(["export", str(finetuned), "--out", str(model), "--report", str(report)]) == 0
    assert json.loads(report.read_text())["parity"] == json.loads((model / "manifest.json").read_text())["parity"]
    out = tmp_path / "deep" / "scores.parquet"
    flags = ["--out", str(out), "--batch-size", "7"]
    assert main(["score", str(model), str(finetuned / "requests.parquet"), *flags]) == 0
    expected = load(exported).score(requests)
    pd.testing.assert_frame_equal(pd.read_parquet(out), expected, rtol=0, atol=1e-6)
    assert f"{len(expected)} candidates of {len(requests)} requests" in capsys.readouterr().out


def test_requests_that_cannot_be_read_are_named(finetuned, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    (run / "requests.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"requests\.parquet can't be read; `pinfm finetune --resume` writes it again"):
        export(run, tmp_path / "model")


def test_columns_that_scoring_does_not_ask_for_are_not_read(exported, requests, finetuned, tmp_path):
    table = pq.read_table(finetuned / "requests.parquet")
    clock = pyarrow.array([1] * len(table), pyarrow.time64("ns"))  # pandas has no such type
    pq.write_table(table.append_column("clock", clock), tmp_path / "requests.parquet")
    out = tmp_path / "scores.parquet"
    assert main(["score", str(exported), str(tmp_path / "requests.parquet"), "--out", str(out)]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), load(exported).score(requests), rtol=0, atol=1e-6)


def test_a_damaged_file_of_requests_is_named(exported, finetuned, tmp_path, capsys):
    damaged = tmp_path / "requests.parquet"
    pq.write_table(pq.read_table(finetuned / "requests.parquet"), damaged, compression="none")
    content = bytearray(damaged.read_bytes())
    data = slice(4, len(content) // 4)
    content[data] = bytes(byte ^ 255 for byte in content[data])
    damaged.write_bytes(content)
    assert main(["score", str(exported), str(damaged), "--out", str(tmp_path / "scores.parquet")]) == 2
    assert "requests.parquet is damaged" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.parquet"]


def test_scores_are_not_written_over_the_model(exported, finetuned, capsys):
    out = exported / "scoring.pt"
    assert main(["score", str(exported), str(finetuned / "requests.parquet"), "--out", str(out)]) == 2
    assert "is in the model's folder; give a file elsewhere" in capsys.readouterr().err


def test_a_pretraining_run_is_refused(pretrained, tmp_path):
    with pytest.raises(UserError, match="is a pretrain run, which ranks nothing"):
        export(pretrained, tmp_path / "model")


def test_an_existing_folder_is_refused(finetuned, tmp_path):
    (tmp_path / "something").touch()
    with pytest.raises(UserError, match="exists and is not an empty folder; choose another --out"):
        export(finetuned, tmp_path)


def test_an_unfinished_run_is_refused(finetuned, tmp_path):
    run = runs.interrupted(finetuned, tmp_path / "run", 4)
    (run / "requests.parquet").unlink()
    with pytest.raises(UserError, match=r"has no requests\.parquet to check against; let the run finish"):
        export(run, tmp_path / "model")
    shutil.rmtree(run / "checkpoints")
    shutil.copy(finetuned / "requests.parquet", run)
    with pytest.raises(UserError, match="has no checkpoint yet"):
        export(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_dataset_of_before_requests_had_a_surface_trains_and_serves(dataset, tmp_path):
    older = shutil.copytree(dataset, tmp_path / "older")
    info = json.loads((older / "dataset.json").read_text())
    info["schema"]["features"] = [f for f in info["schema"]["features"] if f["name"] != "surface"]
    (older / "dataset.json").write_text(json.dumps(info))
    finetune(runs.CONFIG, Place(data=older, out=tmp_path / "run"))
    export(tmp_path / "run", tmp_path / "model")  # parity is checked
    scorer = load(tmp_path / "model")
    assert "surface" not in [column.name for column in scorer.columns]
    requests = pd.read_parquet(tmp_path / "run" / "requests.parquet")
    assert "surface" not in requests
    expected = np.concatenate(requests["expected_click"].to_list())
    np.testing.assert_allclose(scorer.score(requests)["click"], expected, atol=1e-5)
