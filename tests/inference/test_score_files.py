"""`pinfm score` from files: folders as Spark writes them, and every path that can't be right."""

import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.cli import score as score_verb
from pinfm.inference.files import score_file, score_frames
from pinfm.train.cli.main import main
from pinfm.train.loader.dataset_requests import dataset_requests


@pytest.fixture
def requests(finetuned):
    frame = pd.read_parquet(finetuned / "requests.parquet").head(12)
    return frame[[name for name in frame if not name.startswith(("expected_", "label_"))]]


@pytest.fixture
def score(exported, tmp_path, capsys):
    """Scores a path; returns the exit status, what was told, and the scores."""

    def run(path, out=None, *flags):
        out = tmp_path / "scores.parquet" if out is None else out
        status = main(["score", str(exported), str(path), "--out", str(out), *flags])
        return status, capsys.readouterr().err, pd.read_parquet(out) if status == 0 else None

    return run


def written(frame, folder, names, **columns):
    """The frame in as many files as there are names."""
    for name, rows in zip(names, np.array_split(np.arange(len(frame)), len(names)), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.iloc[rows].drop(columns=list(columns)).to_parquet(path, index=False)
    return folder


def test_a_folder_of_spark_is_read_in_the_order_of_its_names(score, requests, tmp_path):
    requests.to_parquet(tmp_path / "one.parquet")
    folder = written(requests, tmp_path / "many", ["part-00000.parquet", "part-00001.snappy.parquet", "part-2.parquet"])
    for marker in ("_SUCCESS", ".part-00000.parquet.crc", "_temporary/0/part-9.parquet"):
        (folder / marker).parent.mkdir(parents=True, exist_ok=True)
        (folder / marker).write_text("")
    pd.testing.assert_frame_equal(score(folder)[2], score(tmp_path / "one.parquet")[2], rtol=0, atol=1e-6)


def test_a_partition_is_a_column(score, requests, tmp_path):
    """Each request's hour stands in its folder's name alone; other keys are nobody's column."""
    requests = requests.assign(hour=[3] * 6 + [7] * 6)
    requests.to_parquet(tmp_path / "one.parquet")
    names = ["dt=2026-01-01/hour=3/part-0.parquet", "dt=2026-01-01/hour=7/part-0.parquet"]
    folder = written(requests, tmp_path / "many", names, hour=None)
    pd.testing.assert_frame_equal(score(folder)[2], score(tmp_path / "one.parquet")[2], rtol=0, atol=1e-6)


def test_a_folder_s_name_and_the_file_agree(score, requests, tmp_path):
    """As in `prepare`, by value: the file writes 3 as a float."""
    requests = requests.assign(hour=[3.0] * 6 + [7.0] * 6)
    names = ["hour=03/part-0.parquet", "hour=7/part-0.parquet"]
    assert len(score(written(requests, tmp_path / "agree", names))[2])
    requests.loc[9, "hour"] = 3.0
    status, told, _ = score(written(requests, tmp_path / "differ", names))
    assert status == 2
    assert "hour=7/part-0.parquet, row 3: hour is not what the folder hour=7 says; correct one of them." in told


def test_the_scores_of_a_library_are_not_written_into_the_model(exported, requests, tmp_path):
    requests.to_parquet(tmp_path / "requests.parquet")
    with pytest.raises(UserError, match=r"--out .*scores\.parquet is in the model's folder; give a file elsewhere"):
        score_file(load(exported), tmp_path / "requests.parquet", exported / "scores.parquet", 8)


def test_a_dataset_s_requests_are_scored_with_their_histories(exported, finetuned, dataset, tmp_path):
    """RUN/requests.parquet are the first requests of the validation split, with the run's own answers."""
    out = tmp_path / "made" / "scores.parquet"
    assert main(["score", str(exported), "--data", str(dataset), "--split", "validation", "--out", str(out)]) == 0
    scores, kept = pd.read_parquet(out), pd.read_parquet(finetuned / "requests.parquet")
    exploded = kept[["request_id", "user_id", "candidate_item_id", "expected_click"]].explode(
        ["candidate_item_id", "expected_click"]
    )
    joined = exploded.rename(columns={"candidate_item_id": "item_id"}).merge(
        scores, on=["request_id", "user_id", "item_id"]
    )
    assert len(joined) == len(exploded) == len(scores) > 100
    np.testing.assert_allclose(joined["click"], joined["expected_click"].astype(float), atol=1e-5)


def test_requests_or_a_dataset_one_of_the_two(exported, finetuned, dataset, tmp_path, capsys):
    score = ["score", str(exported), "--out", str(tmp_path / "scores.parquet")]
    requests, data = str(finetuned / "requests.parquet"), ["--data", str(dataset)]
    for words, told in [
        ([], "score reads requests or a dataset, and neither is given; give REQUESTS or --data DATASET."),
        ([requests, *data], "score reads requests or a dataset, and both are given; give REQUESTS or --data DATASET."),
        (["--data", str(tmp_path / "nowhere")], "nowhere is no folder; give a prepared dataset."),
        (["--data", str(finetuned)], "is no prepared dataset"),
        ([*data, "--out", str(dataset / "scores.parquet")], "must be a file of its own"),
    ]:
        assert main([*score, *words]) == 2
        assert told in capsys.readouterr().err


def test_requests_may_stand_behind_the_flags(exported, finetuned, tmp_path):
    out = tmp_path / "scores.parquet"
    assert main(["score", str(exported), "--out", str(out), str(finetuned / "requests.parquet")]) == 0
    assert out.is_file()


def test_a_pinfm_that_reads_no_datasets_says_so(exported, dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(score_verb, "READERS", "pinfm.nobody")
    assert main(["score", str(exported), "--data", str(dataset), "--out", str(tmp_path / "scores.parquet")]) == 2
    assert "nothing is installed under pinfm.nobody that reads datasets for --data; install" in capsys.readouterr().err


def test_a_split_without_requests_is_named(exported, dataset, tmp_path):
    emptied = shutil.copytree(dataset, tmp_path / "emptied")
    for bucket in (emptied / "impressions" / "test").iterdir():
        pq.write_table(pq.read_table(bucket).slice(0, 0), bucket)
    with pytest.raises(UserError, match=r"the test split of .*emptied has no requests; score another split"):
        score_frames(load(exported), dataset_requests(emptied, "test", 8, 4), tmp_path / "scores.parquet", 4)
    assert not (tmp_path / "scores.parquet").exists()


def test_an_error_is_not_its_own_cause(exported, requests, tmp_path):
    requests.assign(request_timestamp=-5).to_parquet(tmp_path / "requests.parquet")
    with pytest.raises(UserError, match="row 0: request_timestamp holds -5") as raised:
        score_file(load(exported), tmp_path / "requests.parquet", tmp_path / "scores.parquet", 8)
    assert raised.value.__cause__ is None


def test_a_missing_partition_is_the_missing_category(score, requests, tmp_path):
    requests.assign(hour=0).to_parquet(tmp_path / "one.parquet")
    folder = written(requests, tmp_path / "many", ["hour=__HIVE_DEFAULT_PARTITION__/a.parquet"], hour=None)
    pd.testing.assert_frame_equal(score(folder)[2], score(tmp_path / "one.parquet")[2], rtol=0, atol=1e-6)


def test_a_partition_that_is_no_number_is_named(score, requests, tmp_path):
    position = requests.assign(position=requests["position"].map(len))
    folder = written(position, tmp_path / "many", ["hour=noon/a.parquet"], hour=None)
    assert "row 0: hour holds a missing value, or no whole number" in score(folder)[1]


def test_a_bad_row_of_a_folder_is_named_with_its_file(score, requests, tmp_path):
    requests.loc[9, "request_timestamp"] *= 1000
    folder = written(requests, tmp_path / "many", ["a.parquet", "b.parquet"])
    status, told, _ = score(folder, None, "--batch-size", "2")
    assert status == 2
    assert "many/b.parquet, row 3: request_timestamp holds" in told


def test_integers_beside_missing_ones_keep_their_digits(score, requests, tmp_path):
    """pandas would make floats of them."""
    exact = requests.assign(hour=[2**60 + 1] * 11 + [0])
    exact.to_parquet(tmp_path / "exact.parquet")
    exact.assign(hour=pd.array([2**60 + 1] * 11 + [None], dtype="Int64")).to_parquet(tmp_path / "missing.parquet")
    pd.testing.assert_frame_equal(score(tmp_path / "missing.parquet")[2], score(tmp_path / "exact.parquet")[2])


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: (folder / "a.parquet").unlink(), "many holds no file ending in .parquet; give the folder of"),
        (
            lambda folder: (folder / "b.csv").write_text("x"),
            "b.csv is no file ending in .parquet; move it out of the f",
        ),
        (
            lambda folder: (folder / "b.parquet").write_text(""),
            "b.parquet can't be read as Parquet; give a Parquet file",
        ),
        (lambda folder: (folder / "_delta_log").mkdir(), "many is a table of Delta Lake, whose folder holds old rows"),
        (lambda folder: shutil.rmtree(folder), "many does not exist; give a Parquet file of requests, or a folder of"),
        (
            lambda folder: pd.read_parquet(folder / "a.parquet").head(0).to_parquet(folder / "a.parquet"),
            "no requests to",
        ),
    ],
)
def test_a_folder_that_can_not_be_scored_is_one_sentence(score, requests, tmp_path, prepare, sentence):
    folder = written(requests, tmp_path / "many", ["a.parquet"])
    prepare(folder)
    status, told, _ = score(folder)
    assert (status, told.count("\n")) == (2, 1)
    assert sentence in told
    assert not (tmp_path / "scores.parquet").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            {"--out": "MANY/scores.parquet"},
            "--out (MANY/scores.parquet) must be a file of its own, not a folder, a dev",
        ),
        ({"--out": "MANY"}, "must be a file of its own"),
        (
            {"--out": "MODEL/scores.parquet"},
            "--out MODEL/scores.parquet is in the model's folder; give a file elsewhere",
        ),
        (
            {"--report": "MANY/a.parquet"},
            "--report MANY/a.parquet would write over a file of requests (MANY); give another",
        ),
        (
            {"--report": "MODEL/manifest.json"},
            "--report MODEL/manifest.json would write over a file of model (MODEL); give anot",
        ),
        ({"--report": "OUT"}, "--report OUT would write over out (OUT); give another file"),
        (
            {"--out": "s3://bucket/scores.parquet"},
            "s3://bucket/scores.parquet is no local path; only local files and folders are",
        ),
        (
            {"REQUESTS": "gs://bucket/requests"},
            "gs://bucket/requests is no local path; only local files and folders are read",
        ),
        (
            {"MODEL": "hdfs://host/model"},
            "hdfs://host/model is no local path; only local files and folders are read and",
        ),
        ({"--batch-size": str(10**23)}, f"the batch size ({10**23}) must be at least 1 and at most 2147483647"),
        ({"--batch-size": "-1"}, "the batch size (-1) must be at least 1"),
    ],
)
def test_a_path_that_can_not_be_right_is_one_sentence(exported, requests, tmp_path, capsys, flags, sentence):
    model = shutil.copytree(exported, tmp_path / "model")
    folder = written(requests, tmp_path / "many", ["a.parquet"])
    before = (folder / "a.parquet").read_bytes()
    places = {"MODEL": str(model), "MANY": str(folder), "OUT": str(tmp_path / "scores.parquet")}

    def placed(text):
        for name, path in places.items():
            text = text.replace(name, path)
        return text

    given = {"MODEL": "MODEL", "REQUESTS": "MANY", "--out": "OUT"} | flags
    words = [placed(given.pop("MODEL")), placed(given.pop("REQUESTS"))]
    assert main(["score", *words, *(placed(word) for pair in given.items() for word in pair)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert sentence in told or placed(sentence) in told
    assert (folder / "a.parquet").read_bytes() == before
    assert not (tmp_path / "scores.parquet").exists()
