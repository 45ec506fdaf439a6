"""`prepare events --sampled-candidates`: from a log without impressions to requests, and to a trained ranker."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import runs

from pinfm.train.cli.main import main
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS, DatasetInfo

START = 1_700_000_000


def write_log(table, users: int = 30, events: int = 900, action: str = "click") -> pd.DataFrame:
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            "user_id": rng.integers(0, users, events),
            "timestamp": START + np.sort(rng.integers(0, 10 * 86_400, events)),
            "action": action,
            "item_id": rng.integers(0, 80, events),
        }
    )
    table.write("log.csv", log.to_csv(index=False))
    return log


def requests_of(table) -> list[dict]:
    dataset = PreparedDataset.open(table.folder / "out")
    return [row for split in SPLITS for row in dataset.requests(split, 0).to_pylist()]


@pytest.mark.parametrize("kind", ["uniform", "recent", "session"])
def test_each_answer_is_a_request_among_drawn_items(table, kind):
    log = write_log(table)
    table.prepare(
        "log.csv", "--sampled-candidates", kind, "--candidates-per-request", "6", "--positive-actions", "click"
    )
    counts = table.info["counts"]
    assert table.info["candidates"] == "sampled"
    assert table.info["schema"]["tasks"] == ["click"]
    printed = table.printed()
    assert "candidates: put together from what was chosen, not shown" in printed
    had = log.duplicated(["user_id", "item_id"]).sum()
    assert f"note: {had:,} answers make no request: their users had done something with the item before." in printed
    source = counts["source"]
    assert source["answers_had_before"] == had
    assert sum(counts["requests"].values()) == source["sampled_requests"] > 400
    found = requests_of(table)
    assert len(found) == source["sampled_requests"]
    assert max(len(row["item_id"]) for row in found) == 6
    rows = set(zip(log["user_id"], log["timestamp"], log["item_id"], strict=True))
    for row in found:
        assert sum(row["label_click"]) == 1
        assert (row["user_id"], row["timestamp"], row["item_id"][row["label_click"].index(True)]) in rows
        assert all(born < row["timestamp"] for born in row["created_at"])


def test_labels_are_what_the_user_did_within_an_hour(table):
    first = [f"9,{START},click,{item}" for item in range(5)]
    rows = [
        f"1,{START + 10},click,1",
        f"1,{START + 3000},save,1",  # of the same request: it is no answer of its own
        f"2,{START + 20},click,2",
        f"2,{START + 3700},save,2",  # too late
        f"3,{START + 5000},save,3",
        f"4,{START + 5000},hide,4",
    ]
    table.write("log.csv", "\n".join(["user_id,timestamp,action,item_id", *first, *rows]) + "\n")
    flags = ["--actions", "[click, save, hide]", "--tasks", "[click, save]", "--sampled-candidates", "uniform"]
    table.prepare("log.csv", *flags, "--split-by", "time")
    labels = {
        (row["user_id"], item): (click, save)
        for row in requests_of(table)
        for item, click, save in zip(row["item_id"], row["label_click"], row["label_save"], strict=True)
        if click or save
    }
    assert labels == {(1, 1): (True, True), (2, 2): (True, False), (3, 3): (False, True)}
    assert table.info["counts"]["source"] == {
        "sampled_requests": 3,
        "answers_had_before": 2,
        "answers_not_drawable": 5,
        "answers_alone": 0,
    }


def test_an_item_is_there_from_its_creation(table):
    write_log(table)
    created = pd.DataFrame({"item_id": range(100), "created_at": START - 5})
    created.loc[80:89, "created_at"] = START + 5 * 86_400
    table.write("items.csv", created.to_csv(index=False))
    flags = ["--sampled-candidates", "uniform", "--items", str(table.folder / "in" / "items.csv")]
    table.prepare("log.csv", *flags)
    found = requests_of(table)
    offered = {item for row in found for item in row["item_id"]}
    assert set(range(90, 100)) <= offered  # nobody has done anything with them yet
    late = [row["timestamp"] for row in found for item in row["item_id"] if 80 <= item < 90]
    assert min(late) > START + 5 * 86_400
    # The very first event is a request: its item was there, beside others that nobody knew either.
    assert table.info["counts"]["source"]["answers_not_drawable"] == 0


def test_text_ids_and_numbered_actions(table):
    log = write_log(table, action="3")
    log["user_id"], log["item_id"] = "u" + log["user_id"].astype(str), "i" + log["item_id"].astype(str)
    table.write("log.csv", log.to_csv(index=False))
    table.prepare("log.csv", "--actions", "[3.0]", "--sampled-candidates", "recent", "--popularity-hours", "48")
    assert table.info["schema"]["tasks"] == ["3"]
    dataset = PreparedDataset.open(table.folder / "out")
    row = dataset.requests("train", 0).to_pylist()[-1]
    assert set(dataset.as_logged("item_id", np.array(row["item_id"]))) <= set(log["item_id"])


def test_a_log_in_order_has_leave_one_out_requests(table):
    log = write_log(table)
    table.write("log.csv", log[["user_id", "item_id"]].to_csv(index=False))
    order = ["--action", "view", "--order-only", "file", "--split-by", "leave-one-out"]
    events = table.prepare("log.csv", *order, "--sampled-candidates", "session", "--session-events", "300")
    dataset = PreparedDataset.open(table.folder / "out")
    test = dataset.requests("test", 0).to_pylist()
    assert len({row["user_id"] for row in test}) == len(test) == log["user_id"].nunique()
    for row in test:
        held_out = events[(events["user_id"] == row["user_id"]) & (events["timestamp"] >= row["timestamp"])]
        assert (held_out["split"] == 2).all()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--sampled-candidates", "uniform", "--impressions", "LOG", "--tasks", "click"], "but --impressions is given"),
        (["--sampled-candidates", "uniform", "--tasks", "buy"], "tasks names buy, which is not among actions"),
        (
            ["--sampled-candidates", "uniform", "--candidates-per-request", "1"],
            "candidates_per_request (1) must lie between 2",
        ),
        (
            ["--sampled-candidates", "uniform", "--candidates-per-request", "1000000000"],
            "candidates_per_request (1000000000) must lie between 2, the answer and another, and 10,000",
        ),
        (["--sampled-candidates", "recent", "--popularity-hours", "0"], "popularity_hours (0.0) must lie between 0.01"),
        (
            ["--sampled-candidates", "session", "--session-events", "0"],
            "session_events (0) must be at least 1 and seed",
        ),
        (
            ["--sampled-candidates", "uniform", "--popularity-hours", "6"],
            "popularity_hours is a setting of --sampled-cand",
        ),
        (["--seed", "3"], "seed is a setting of --sampled-candidates; give both, or leave it out"),
        (
            ["--sampled-candidates", "uniform", "--order-only", "user"],
            "order_only user tells no time to draw uniform ca",
        ),
        (
            ["--sampled-candidates", "recent", "--order-only", "file"],
            "order_only file tells no time to draw recent cand",
        ),
        (["--sampled-candidates", "popular"], "sampled_candidates"),
        (
            ["--sampled-candidates", "recent", "--popularity-hours", "0.01"],
            "sampled_candidates makes no request of 2 ans",
        ),
        (
            ["--tasks", "click"],
            "tasks and features are columns of impressions; give that table with --impressions, or ta",
        ),
    ],
)
def test_a_mistake_is_one_sentence(table, flags, sentence):
    path = table.write("log.csv", f"user_id,timestamp,action,item_id\n1,{START},click,7\n2,{START + 9},save,8\n")
    assert sentence in table.refusal("log.csv", *(str(path) if flag == "LOG" else flag for flag in flags))


def test_other_datasets_were_shown_and_older_ones_read_so(dataset):
    info = DatasetInfo.read(dataset)
    fields = json.loads(info.to_json())
    assert fields.pop("candidates") == info.candidates == "shown"
    assert DatasetInfo.from_json(json.dumps(fields)) == info


def test_a_ranker_is_trained_and_judged_on_them(table, tmp_path):
    write_log(table)
    log, data, run = table.folder / "in" / "log.csv", tmp_path / "data", tmp_path / "run"
    flags = ["--actions", "click", "--sampled-candidates", "recent", "--popularity-hours", "72", "--num-buckets", "4"]
    assert main(["prepare", "events", str(log), *flags, "--out", str(data)]) == 0
    config = runs.write_config(replace(runs.CONFIG, max_history=8), tmp_path / "config.yaml")
    assert main(["finetune", "--config", str(config), "--data", str(data), "--out", str(run)]) == 0
    report = tmp_path / "report.json"
    assert main(["evaluate", str(run), "--data", str(data), "--report", str(report)]) == 0
    metrics = json.loads(report.read_text())["metrics"]["model"]["click"]
    assert metrics["positives"] == metrics["requests"] == DatasetInfo.read(data).counts.requests["test"] > 20
    # Everybody chooses at random, so that a ranker which finds the answer has been told it.
    assert 0.3 < metrics["auc"] < 0.7
