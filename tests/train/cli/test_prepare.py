"""`pinfm prepare` from the command line: exit status, the table, and one sentence for each mistake."""

import json

import pandas as pd
import pytest

from pinfm.train.cli.main import main
from pinfm.train.data.dataset import PreparedDataset

TINY = ["--num-users", "20", "--num-items", "50", "--num-days", "5", "--requests-per-user", "4", "--num-buckets", "1"]


def write_events(folder):
    table = {"uid": [1, 2, 3], "timestamp": [10, 20, 30], "action": "click", "surface": "home", "item_id": [7, 8, 9]}
    pd.DataFrame(table).to_csv(folder / "log.csv", index=False)
    return str(folder / "log.csv")


def test_simulate_writes_a_dataset_a_table_and_a_report(tmp_path, capsys):
    out, report = tmp_path / "out", tmp_path / "new" / "report.json"
    assert main(["prepare", "simulate", "--out", str(out), *TINY, "--report", str(report)]) == 0
    info = PreparedDataset.open(out).info
    printed = capsys.readouterr().out
    assert f"{info.counts.events:,}" in printed
    assert "validation" in printed
    told = json.loads(report.read_text())
    assert told["counts"]["events"] == info.counts.events
    assert told["splits"]["test"] == list(info.splits["test"])
    assert told["seconds"] > 0


def test_a_report_that_cannot_be_written_is_told_before_the_work(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", "simulate", "--out", str(out), *TINY, "--report", str(tmp_path)]) == 2
    assert f"--report {tmp_path} can't be written" in capsys.readouterr().err
    assert not out.exists()


def test_columns_are_mapped_by_flags(tmp_path):
    flags = ["--actions", "[click]", "--columns.user_id", "uid", "--num-buckets", "1"]
    assert main(["prepare", "events", write_events(tmp_path), "--out", str(tmp_path / "out"), *flags]) == 0
    assert PreparedDataset.open(tmp_path / "out").events(0)["user_id"].to_pylist() == [1, 2, 3]


def test_skipped_rows_are_told(tmp_path, capsys):
    path = write_events(tmp_path)
    with open(path, "a") as file:
        file.write("4,-1,click,home,7\n")
    flags = ["--actions", "[click]", "--columns.user_id", "uid", "--num-buckets", "1", "--on-bad-rows", "skip"]
    assert main(["prepare", "events", path, "--out", str(tmp_path / "out"), *flags]) == 0
    assert "rejected: 1 x events.timestamp.negative" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["events", "nowhere.csv", "--actions", "[click]"], "nowhere.csv does not exist"),
        (["events", "LOG", "--actions", "[click]"], "has no column user_id"),
        (
            ["events", "LOG", "--actions", "[buy]", "--columns.user_id", "uid"],
            "row 2, column action: 'click' is not one",
        ),
        (["events", "LOG"], "actions"),
        (["simulate", "--num-days", "1"], "num_days (1) must be at least 3"),
        (["simulate", "--num-days", "many"], "num_days"),
        (["simulate", "--colour", "red"], "--colour"),
        (["simulate", "--on-bad-rows", "guess"], "on_bad_rows"),
        (["spotify"], "spotify"),
        (["movielens", "nowhere"], "nowhere holds no ratings"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, capsys, flags, sentence):
    log = write_events(tmp_path)
    flags = [log if flag == "LOG" else flag for flag in flags]
    out = tmp_path / "out"
    assert main(["prepare", *flags, *([] if flags == ["spotify"] else ["--out", str(out)])]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert sentence in told
    assert "Traceback" not in told
    assert not out.exists()


def test_an_existing_dataset_is_not_overwritten(tmp_path, capsys):
    flags = ["prepare", "simulate", "--out", str(tmp_path), *TINY]
    (tmp_path / "mine").write_text("x")
    assert main(flags) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "x"
