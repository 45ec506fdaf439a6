"""`pinfm prepare` from the command line: exit status, the table, and one sentence for each mistake."""

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from pinfm.train.cli.main import main
from pinfm.train.cli.prepare import SOURCES
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.events import Events

DOCS = Path(__file__).parents[3] / "docs" / "data.md"
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
        (["events", "LOG", "--actions", "click", "save"], "A list is one word, as in `--actions click,save`. See"),
        (["simulate", "--num-days", "many"], "--num-days must be a whole number, and 'many' is none"),
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


@pytest.mark.parametrize("verb", ["prepare events", "finetune", "evaluate", "export", "score", "plan", "quickstart"])
def test_help_names_no_type_as_python_does(verb, capsys):
    with pytest.raises(SystemExit):
        main([*verb.split(), "--help"])
    told = capsys.readouterr().out
    assert "--report" in told
    for python in ("<class", "<function", "Optional[", "Literal[", "Union["):
        assert python not in told


def test_an_existing_dataset_is_not_overwritten(tmp_path, capsys):
    flags = ["prepare", "simulate", "--out", str(tmp_path), *TINY]
    (tmp_path / "mine").write_text("x")
    assert main(flags) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "x"


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_is_told_in_its_help_and_in_the_docs(name, capsys):
    with pytest.raises(SystemExit) as end:
        main(["prepare", name, "--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    for field in dataclasses.fields(SOURCES[name]):
        assert ("input" if field.name == "path" else f"--{field.name.replace('_', '-')}") in told
    assert f"\n### `{name}`" in DOCS.read_text()


def test_a_new_source_is_a_class_and_a_line(tmp_path, monkeypatch, capsys):
    """Its flags, their help, its input and its name in the dataset follow from the class."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Hand(Events):
        """What somebody wrote down.

        Args:
            ink: colour of the pen.
        """

        name: ClassVar[str] = "hand"

        ink: str = "blue"

    monkeypatch.setitem(SOURCES, "hand", Hand)
    with pytest.raises(SystemExit):
        main(["prepare", "hand", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "colour of the pen. (type: str, default: blue)" in told
    assert "those that count as interest" in told  # of a field that another class documents
    flags = ["--actions", "[click]", "--columns.user_id", "uid", "--ink", "red", "--num-buckets", "1"]
    assert main(["prepare", "hand", write_events(tmp_path), "--out", str(tmp_path / "out"), *flags]) == 0
    assert PreparedDataset.open(tmp_path / "out").info.source == "hand"


def test_a_field_without_a_word_of_help_is_our_bug(monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mute(Events):
        """Says nothing of its own field."""

        silent: int = 0

    monkeypatch.setitem(SOURCES, "mute", Mute)
    with pytest.raises(AssertionError, match="the docstring of Mute says nothing of silent"):
        main(["prepare", "mute", "--help"])
