"""`pinfm export --adapt`: what is in the folder, what it scores, and what is refused."""

import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

import pinfm.inference.adaptation.change as change_module
from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.adaptation.change import check_change
from pinfm.inference.adaptation.reference import kept_histories, kept_reference
from pinfm.inference.artifact import sha256
from pinfm.inference.export import adapt_module, export, scoring_module
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import ParityError, kept_requests
from pinfm.inference.tables import place_tables
from pinfm.inference.write_tables import write_tables
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.inputs import Candidates, History
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.tower import SequenceTower
from pinfm.train.cli.main import main

TASKS = ["click", "save", "hide"]
# So much that the few events of the tiny run feel it.
FORMS = {
    "vectors": VectorAdaptationConfig(window=4, newest_events=6, steps=2, step_size=0.5, radius=0.9),
    "trust": TrustConfig(anchors=8, threshold=0.5),
}
FLAGS = {
    "vectors": [
        "--vectors.window=4",
        "--vectors.newest_events=6",
        "--vectors.steps=2",
        "--vectors.step_size=0.5",
        "--vectors.radius=0.9",
    ],
    "trust": ["--trust.anchors", "8", "--trust.threshold", "0.5"],
}
LOOSE = ["--max-auc-loss", "1"]


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    return request.param


@pytest.fixture(scope="module")
def adapted(root, finetuned, form):
    """The artefact of the fine-tuned run that adapts."""
    folder = root / f"adapted_{form}"
    assert main(["export", str(finetuned), "--out", str(folder), "--adapt", form, *FLAGS[form], *LOOSE]) == 0
    return folder


@pytest.fixture
def requests(finetuned):
    return pd.read_parquet(finetuned / "requests.parquet")


def eager(finetuned, form, folder, options=None):
    """The module of the run in Python, adapted, and its tables."""
    run = RunFolder.open(finetuned)
    module = scoring_module(run, options or ExportOptions())
    place_tables(module, folder, write_tables(run, folder, "fp32"))
    adapt_module(module, FORMS[form], kept_reference(module, run, kept_requests(run)))
    return module.requires_grad_(False)


@pytest.mark.parametrize("inference", [False, True])
def test_the_file_scores_as_the_module_in_python(adapted, finetuned, form, requests, tmp_path, inference):
    scorer = load(adapted)
    inputs, module = scorer.inputs(requests), eager(finetuned, form, tmp_path)
    expected = module(inputs)
    with torch.inference_mode(inference):
        for _ in range(3):  # TorchScript optimises as it runs
            found = scorer.module(inputs)
    for task in TASKS:
        torch.testing.assert_close(found[task], expected[task], rtol=0, atol=1e-6)
    plain = pd.DataFrame({task: np.concatenate(requests[f"expected_{task}"].to_list()) for task in TASKS})
    assert max(np.abs(plain[task] - expected[task].numpy()).max() for task in TASKS) > 3e-5


def test_the_folder_says_what_it_does(adapted, form, finetuned, requests):
    manifest, signature = (json.loads((adapted / name).read_text()) for name in ("manifest.json", "signature.json"))
    assert signature["adaptation"] == {"form": form, "settings": vars(FORMS[form])}
    told = manifest["adaptation"]
    assert {"form": told["form"], "settings": told["settings"]} == signature["adaptation"]
    assert told["reference"]["items"] > 10
    assert 0 <= manifest["parity"]["max_abs_diff"] <= 1e-5  # of the module without adaptation
    scores = load(adapted).score(requests)
    plain = np.concatenate([np.concatenate(requests[f"expected_{task}"].to_list()) for task in TASKS])
    changed = np.abs(np.concatenate([scores[task] for task in TASKS]) - plain)
    assert told["change"]["max_abs_change"] == pytest.approx(changed.max(), abs=1e-5)
    assert told["change"]["mean_abs_change"] == pytest.approx(changed.mean(), abs=1e-5)
    for task in TASKS:
        by_task = {key: told["change"][key][task] for key in ("auc_without", "auc_with", "auc_change")}
        assert by_task["auc_with"] - by_task["auc_without"] == pytest.approx(by_task["auc_change"], abs=1e-7)
    assert not (adapted / "tables").exists()


def test_the_weights_are_in_the_file_once(adapted, exported, finetuned):
    """Beside them there is the reference alone: items, states, and what is worked out of these."""
    reference = json.loads((adapted / "manifest.json").read_text())["adaptation"]["reference"]
    bound = 4 * (reference["items"] + reference["states"]) * (8 + 4)  # float32, out_dim and a few more columns
    assert 0 < tensor_bytes(adapted) - tensor_bytes(exported) < bound
    # The tower, in the file a second time, would be more than that.
    assert sum(4 * x.numel() for x in SequenceTower.from_run(finetuned).encoder.parameters()) > bound


@pytest.mark.parametrize("flags", [["--precision", "int4"], ["--precision", "int8", "--layout", "apart"]])
def test_packed_tables_and_bf16(finetuned, requests, adapted, form, tmp_path, flags):
    out, dense = tmp_path / "model", ["--dense-precision", "bf16"]
    assert (
        main(["export", str(finetuned), "--out", str(out), "--adapt", form, *FLAGS[form], *flags, *dense, *LOOSE]) == 0
    )
    assert (out / "tables").exists() == ("apart" in flags)
    rough, whole = load(out).score(requests), load(adapted).score(requests)
    for task in TASKS:
        assert np.isfinite(rough[task]).all()
        assert np.corrcoef(rough[task], whole[task])[0, 1] > 0.9


def test_the_same_run_gives_the_same_artefact(adapted, finetuned, form, requests, tmp_path):
    again = tmp_path / "again"
    assert main(["export", str(finetuned), "--out", str(again), "--adapt", form, *FLAGS[form], *LOOSE]) == 0
    pd.testing.assert_frame_equal(load(again).score(requests), load(adapted).score(requests), rtol=0, atol=0)


def test_a_cached_user_of_a_tower_reads_what_the_artefact_reads(adapted, finetuned, form, requests, tmp_path):
    run, inputs, heard = RunFolder.open(finetuned), load(adapted).inputs(requests), []
    module = eager(finetuned, form, tmp_path)
    module.model.ranker.encoder.age_dropout.register_forward_hook(lambda *told: heard.append(told[2]))
    scores = module(inputs)
    for task in TASKS:
        torch.testing.assert_close(load(adapted).module(inputs)[task], scores[task], rtol=0, atol=1e-6)
    tower = SequenceTower.from_run(finetuned).adapted(
        FORMS[form], kept_histories(run, requests), run.schema.positive_codes()
    )
    content = inputs["candidate_content"]
    named = [inputs[name] for name in ("candidate_lengths", "request_timestamp", "candidate_item_id")]
    candidates = Candidates(*named, inputs["candidate_created_at"], content, inputs["surface"])
    history = History(*(inputs[f"history_{name}"] for name in History._fields))
    with torch.no_grad():
        found = tower.score(tower.encode_context(history), candidates)
    torch.testing.assert_close(found, heard[0], rtol=1e-5, atol=1e-5)


def test_score_and_latency_take_it(adapted, finetuned, tmp_path, requests, capsys):
    scores = tmp_path / "scores.parquet"
    assert main(["score", str(adapted), str(finetuned / "requests.parquet"), "--out", str(scores)]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(scores), load(adapted).score(requests), rtol=0, atol=1e-6)
    few = ["--candidates", "3", "--requests", "2", "--rounds", "1", "--threads", "1"]
    assert main(["latency", str(adapted), *few]) == 0
    assert "p50" in capsys.readouterr().out


def test_what_adaptation_costs_is_told(finetuned, tmp_path, capsys):
    report = tmp_path / "report.json"
    flags = ["--adapt", "trust", *FLAGS["trust"], *LOOSE, "--report", str(report)]
    assert main(["export", str(finetuned), "--out", str(tmp_path / "model"), *flags]) == 0
    told = json.loads(report.read_text())["adaptation"]
    assert told == json.loads((tmp_path / "model" / "manifest.json").read_text())["adaptation"]
    assert "--adapt trust changes a probability by " in capsys.readouterr().out


def test_an_adaptation_that_costs_too_much_is_refused(exported, requests, monkeypatch):
    scorer = load(exported)
    plain = scorer.score(requests)
    monkeypatch.setattr(change_module, "auc_change", lambda *_: -0.01)
    with pytest.raises(ParityError, match=r"--adapt trust changes the AUC of click by -0\.0100 .* nothing was written"):
        check_change(scorer, plain, requests, ExportOptions(adapt="trust", max_auc_loss=0.0099))
    report = check_change(scorer, plain, requests, ExportOptions(adapt="trust", max_auc_loss=0.0101))
    assert report["max_abs_change"] < 1e-6
    assert report["auc_change"]["save"] == -0.01


def test_an_adaptation_whose_scores_are_no_numbers_is_refused(exported, requests):
    scorer = load(exported)
    plain = scorer.score(requests)
    plain.loc[3, "save"] = np.nan
    with pytest.raises(ParityError, match=r"--adapt vectors makes scores that are no numbers, so nothing was written"):
        check_change(scorer, plain, requests, ExportOptions(adapt="vectors", max_auc_loss=1.0))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"trust": TrustConfig(threshold=0.3)}, "--trust settings are given, but --adapt is none"),
        ({"adapt": "trust", "vectors": VectorAdaptationConfig(steps=1)}, "--vectors settings .* but --adapt is trust"),
        ({"adapt": "maybe"}, "adapt .'maybe'. must be one of none, vectors, trust"),
    ],
)
def test_settings_of_another_form_are_refused(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        ExportOptions(**settings)


def test_a_run_without_a_tower_is_refused(finetuned, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["use_tower"] = False
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="no tower reads histories that --adapt trust could mend"):
        export(run, tmp_path / "model", ExportOptions(adapt="trust"))


def test_kept_requests_without_a_positive_event_are_refused(finetuned, tmp_path, requests):
    run = shutil.copytree(finetuned, tmp_path / "run")
    requests["history_action"] = [np.full(len(cell), "hide", dtype=object) for cell in requests["history_action"]]
    with pytest.raises(UserError, match=r"requests\.parquet has no event of click, save in its histories"):
        kept_histories(RunFolder.open(run), requests)


def test_the_newest_request_of_each_user_is_in_the_reference(finetuned, requests):
    history = kept_histories(RunFolder.open(finetuned), requests)
    assert requests["user_id"].duplicated().any()
    newest = requests.sort_values("request_timestamp", kind="stable").drop_duplicates("user_id", keep="last")
    assert sorted(history.lengths.tolist()) == sorted(len(cell) for cell in newest["history_item_id"])
    expected = sorted(time for cell in newest["history_timestamp"] for time in cell)
    assert sorted(history.timestamp.tolist()) == expected


def test_models_of_before_are_scored(exported, requests, tmp_path):
    older = shutil.copytree(exported, tmp_path / "older")
    signature = json.loads((older / "signature.json").read_text())
    assert signature.pop("adaptation") == {"form": "none", "settings": None}
    (older / "signature.json").write_text(json.dumps(signature))
    manifest = json.loads((older / "manifest.json").read_text())
    manifest["sha256"]["signature.json"] = sha256(older / "signature.json")
    (older / "manifest.json").write_text(json.dumps(manifest))
    pd.testing.assert_frame_equal(load(older).score(requests), load(exported).score(requests))


def tensor_bytes(folder):
    """Of all tensors in scoring.pt."""
    with zipfile.ZipFile(folder / "scoring.pt") as file:
        parts = [info for info in file.infolist() if info.filename.split("/")[1] in ("data", "constants")]
    return sum(info.file_size for info in parts)
