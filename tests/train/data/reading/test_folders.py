"""Folders of files as warehouses write them: read with the folders in them, or refused in one sentence."""

import gzip
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.data.reading import files
from pinfm.train.data.sources.events import Events

HEADER = "user_id,timestamp,action,surface,item_id\n"


def rows(start, count=2):
    return "".join(f"1,{1_700_000_000 + n},click,home,{100 + n}\n" for n in range(start, start + count))


def put_parquet(table, name, start, **columns):
    path = table.write(name, b"")
    numbers = range(start, start + 2)
    plain = {"user_id": 1, "timestamp": [1_700_000_000 + n for n in numbers], "action": "click", "surface": "home"}
    frame = pd.DataFrame({**plain, "item_id": [100 + n for n in numbers], **columns})
    frame.drop(columns=[name for name in columns if columns[name] is None]).to_parquet(path, index=False)


def test_folders_within_folders_are_read_in_order(table):
    for day, start in (("2026-01-02", 2), ("2026-01-01", 0)):
        put_parquet(table, f"log/dt={day}/part-0.parquet", start)
        table.write(f"log/dt={day}/.part-0.parquet.crc", b"x")
        table.write(f"log/dt={day}/part-0.crc", b"x")
        table.write(f"log/dt={day}/_SUCCESS", b"")
    table.write("log/_temporary/0/part-0.parquet", b"half")
    assert table.prepare("log").item_id.tolist() == [100, 101, 102, 103]


def test_a_folder_s_name_is_a_column(table):
    for action, start in (("click", 0), ("save", 2)):
        put_parquet(table, f"log/action={action}/part-0.parquet", start, action=None)
    assert table.prepare("log").action.tolist() == ["click", "click", "save", "save"]


def test_a_folder_s_name_is_a_column_of_text_files_too(table):
    head = "user_id,timestamp,item_id\n"
    table.write("log/surface=a%3Ab/action=click/part-0.csv", head + "1,1700000000,7\n")
    table.write("log/surface=__HIVE_DEFAULT_PARTITION__/action=save/part-0.csv", head + "1,1700000001,8\n")
    events = table.prepare("log")
    assert events.surface.fillna("none").tolist() == ["a:b", "none"]
    assert list(events.action) == ["click", "save"]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_s_name_and_the_file_agree(table, kind):
    for surface, start in (("home", 0), ("shop", 2)):
        name = f"log/surface={surface}/part-0.{kind}"
        put_parquet(table, name, start) if kind == "parquet" else table.write(name, HEADER + rows(start))
    said = table.refusal("log")
    assert "shop" in said
    assert f"part-0.{kind}: its column surface holds 'home', and its folder is called surface=shop" in said
    shutil.rmtree(table.folder / "in" / "log" / "surface=shop")
    assert len(table.prepare("log")) == 2


def test_a_folder_of_another_type_than_the_column_agrees_by_value(table):
    put_parquet(table, "log/user_id=01/part-0.parquet", 0)
    assert set(table.prepare("log").user_id) == {1}


def test_empty_parts_decide_nothing(table):
    empty = pyarrow.table({"user_id": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(empty, table.write("log/part-0.parquet", b""))
    put_parquet(table, "log/part-1.parquet", 0)
    assert len(table.prepare("log")) == 2
    table.write("text/part-0.csv", "")
    table.write("text/part-1.csv", HEADER)
    table.write("text/part-2.csv", HEADER + rows(0))
    shutil.rmtree(table.folder / "out")
    assert len(table.prepare("text")) == 2


def test_a_column_of_several_types_is_read_value_by_value(table):
    put_parquet(table, "log/part-1.parquet", 2, user_id=["2", "3"])
    put_parquet(table, "log/part-2.parquet", 4, user_id=[4.0, 5.0])
    put_parquet(table, "log/part-3.parquet", 6, user_id=[9_007_199_254_740_993, 7])
    assert set(table.prepare("log").user_id) == {2, 3, 4, 5, 7, 9_007_199_254_740_993}


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"log.csv": "", "log.csv.gz": "gz"}, "log.csv and .*log.csv.gz are the same data twice"),
        ({"a/log.csv": "", "b/copy.csv": ""}, "a/log.csv and .*b/copy.csv are the same data twice"),
        ({"log.csv": "", "log.tsv": "other"}, "log.csv and .*log.tsv are of two kinds in one table's folder"),
        ({"log.csv": "", "log.parquet": "other"}, "log.csv and .*log.parquet are of two kinds"),
        ({"log.csv": "", "notes.docx": ""}, "notes.docx is no file ending in"),
        ({"part.parquet": "", "_delta_log/0.json": ""}, "is a table of Delta Lake, whose folder holds old rows too"),
        ({"data/part.parquet": "", "metadata/v1.metadata.json": ""}, "is a table of Iceberg"),
    ],
)
def test_a_folder_that_is_no_one_table_is_refused(table, files, match):
    contents = {"": HEADER + rows(0), "gz": gzip.compress((HEADER + rows(0)).encode()), "other": "x"}
    for name, content in files.items():
        table.write(f"log/{name}", contents[content])
    said = table.refusal("log")
    assert re.search(match, said), said


def test_parts_of_one_kind_packed_and_not_are_one_table(table):
    table.write("log/part-0.csv", HEADER + rows(0))
    table.write("log/part-1.csv.gz", gzip.compress((HEADER + rows(2)).encode()))
    assert len(table.prepare("log")) == 4


def test_links_are_followed_once(table):
    table.write("far/part-0.csv", HEADER + rows(0))
    (table.folder / "in" / "log").mkdir()
    (table.folder / "in" / "log" / "near").symlink_to(table.folder / "in" / "far")
    assert len(table.prepare("log")) == 2
    shutil.rmtree(table.folder / "out")
    (table.folder / "in" / "far" / "loop").symlink_to(table.folder / "in" / "log")
    assert "leads to a folder that is read already" in table.refusal("log")


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("*.parquet", "patterns are not expanded; give the folder that holds the files"),
        ("part-?.csv", "patterns are not expanded"),
    ],
)
def test_a_pattern_is_refused(table, path, match):
    table.write("part-0.csv", HEADER + rows(0))
    assert match in table.refusal(path)


def test_files_of_one_size_are_compared_once(table, monkeypatch):
    digests = []
    digest = files.hashlib.file_digest
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *args: digests.append(args) or digest(*args))
    for number in range(2):
        table.write(f"log/{number}.csv", f"user_id,timestamp,action,item_id\n1,1700000000,click,{number}\n")
    assert len(table.prepare("log")) == 2
    assert len(digests) == 2


def test_an_address_given_in_python_keeps_its_slashes():
    with pytest.raises(UserError, match=r"^s3://bucket/log is no local path"):
        Events(path=Path("s3://bucket/log"), action="click").require_inputs()
