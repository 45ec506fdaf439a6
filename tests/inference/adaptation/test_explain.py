"""`pinfm score --explain`: how far each event is trusted, and what stands in the file in one sentence."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.adaptation.explain import explain
from pinfm.inference.folders import adaptation_of
from pinfm.train.cli.main import main

LOOSE = ["--max-auc-loss", "1"]
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def trusting(root, finetuned):
    """The artefact of the fine-tuned run that drops what it does not trust."""
    folder = root / "trusting"
    flags = ["--adapt", "trust", "--trust.threshold", str(THRESHOLD), *LOOSE]
    assert main(["export", str(finetuned), "--out", str(folder), *flags]) == 0
    return folder


@pytest.fixture
def requests(finetuned):
    return pd.read_parquet(finetuned / "requests.parquet")


@pytest.fixture
def told(trusting, tmp_path, capsys):
    """Explains a frame of requests; returns the file's rows, what was printed, and the report."""

    def run(frame, *flags):
        frame.to_parquet(tmp_path / "requests.parquet")
        paths = ["--out", tmp_path / "scores.parquet", "--explain", tmp_path / "trust.parquet"]
        words = ["score", trusting, tmp_path / "requests.parquet", *paths, "--report", tmp_path / "report.json", *flags]
        assert main([str(word) for word in words]) == 0
        report = json.loads((tmp_path / "report.json").read_text())
        return pd.read_parquet(tmp_path / "trust.parquet"), capsys.readouterr().out, report["explanation"]

    return run


def test_each_event_that_is_read_has_its_trust(trusting, requests, told):
    rows, printed, report = told(requests, "--batch-size", "7")
    assert rows["request"].tolist() == list(range(len(requests)))
    assert rows["history_not_read"].sum() == 0
    for found, given in zip(rows["history_item_id"], requests["history_item_id"], strict=True):
        assert found.tolist() == given.tolist()
    scorer = load(trusting)
    expected = scorer.module.trust(scorer.inputs(requests)).numpy()
    np.testing.assert_allclose(np.concatenate(rows["history_trust"].to_list()), expected, rtol=0, atol=1e-6)
    distrusted = [int((trust < THRESHOLD).sum()) for trust in rows["history_trust"]]
    most = int(np.argmax(distrusted))
    assert 0 < sum(distrusted) < len(expected)
    assert (report["events"], report["distrusted"]) == (len(expected), sum(distrusted))
    assert report["requests_with_distrusted"] == np.count_nonzero(distrusted)
    assert report["most"][0] == {
        "request": most,
        "events": len(rows["history_trust"][most]),
        "distrusted": distrusted[most],
    }
    share = f"{100 * sum(distrusted) / len(expected):.1f} % of {len(expected)} events are distrusted"
    assert f"{share} (trust below 0.5), in {np.count_nonzero(distrusted)} of {len(requests)} requests" in printed
    assert f"; most in {most} ({distrusted[most]} of " in printed


def test_scores_do_not_read_what_is_distrusted(trusting, requests):
    """A request of which every event is distrusted is scored as one without a history."""
    scorer = load(trusting)
    rows = explain(scorer, requests)
    names = [name for name in requests if name.startswith("history_")]
    dropped = [bool(len(trust) and (trust < THRESHOLD).all()) for trust in rows["history_trust"]]
    assert any(dropped)
    some = requests[dropped]
    empty = some.assign(**{name: [cell[:0] for cell in some[name]] for name in names})
    pd.testing.assert_frame_equal(scorer.score(some), scorer.score(empty), rtol=0, atol=1e-6)


def test_events_beyond_what_the_model_reads_are_counted(requests, told, trusting):
    longest = load(trusting).max_history
    names = [name for name in requests if name.startswith("history_")]
    longer = requests.assign(
        **{name: [np.concatenate([cell[:1].repeat(longest), cell]) for cell in requests[name]] for name in names}
    )
    full = longer[[len(cell) > longest for cell in longer["history_item_id"]]].head(5)
    rows, *_ = told(full)
    assert rows["history_not_read"].tolist() == [len(cell) - longest for cell in full["history_item_id"]]
    for found, trust, given in zip(
        rows["history_item_id"], rows["history_trust"], full["history_item_id"], strict=True
    ):
        assert found.tolist() == given[-longest:].tolist()
        assert len(trust) == longest


def test_a_file_without_events_has_its_sentence(requests, told):
    empty = [cell[:0] for cell in requests["history_item_id"]]
    names = [name for name in requests if name.startswith("history_")]
    rows, printed, report = told(requests.assign(**dict.fromkeys(names, empty)))
    assert [len(trust) for trust in rows["history_trust"]] == [0] * len(requests)
    assert f"0.0 % of 0 events are distrusted (trust below 0.5), in 0 of {len(requests)} requests\n" in printed
    assert report["most"] == []


def test_the_numbers_of_requests_go_on_over_files(requests, told, trusting, tmp_path):
    whole, *_ = told(requests)
    folder = tmp_path / "many"
    folder.mkdir()
    requests.head(9).to_parquet(folder / "part-0.parquet")
    requests.tail(-9).to_parquet(folder / "part-1.parquet")
    paths = [trusting, folder, "--out", tmp_path / "scores.parquet", "--explain", tmp_path / "other.parquet"]
    assert main(["score", *map(str, paths)]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "other.parquet"), whole, rtol=0, atol=1e-6)


def test_no_requests_are_refused_as_by_score(trusting, requests):
    with pytest.raises(UserError, match="there are no requests to score"):
        explain(load(trusting), requests.head(0))


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("MODEL/trust.parquet", r"--explain .*trust\.parquet is in the model's folder; give a file elsewhere"),
        ("HERE", r"--explain \(.*\) must be a file of its own"),
        ("HERE/scores.parquet", r"--explain and --out are one file"),
    ],
)
def test_a_place_that_can_not_be_is_refused(trusting, finetuned, tmp_path, capsys, place, sentence):
    path = place.replace("MODEL", str(trusting)).replace("HERE", str(tmp_path))
    words = ["score", trusting, finetuned / "requests.parquet", "--out", tmp_path / "scores.parquet", "--explain", path]
    assert main([str(word) for word in words]) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_a_model_that_weighs_nothing_is_refused(exported, finetuned, requests, tmp_path, capsys):
    words = ["score", exported, finetuned / "requests.parquet", "--out", tmp_path / "s", "--explain", tmp_path / "t"]
    assert main([str(word) for word in words]) == 2
    sentence = "was exported with --adapt none, which weighs no events; export the run with --adapt trust."
    assert sentence in capsys.readouterr().err
    with pytest.raises(UserError, match="which weighs no events"):
        explain(load(exported), requests)
    scorer = load(exported)
    with pytest.raises(torch.jit.Error, match="the model weighs no events; export it with --adapt trust"):
        scorer.module.trust(scorer.inputs(requests))
    assert not (tmp_path / "t").exists()


def test_a_signature_that_is_none_is_named(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model")
    for text in ("[]", "{"):
        (folder / "signature.json").write_text(text)
        with pytest.raises(UserError, match=r"signature\.json is not what this pinfm writes; export the run again"):
            adaptation_of(folder)
