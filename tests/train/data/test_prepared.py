"""What a prepared dataset holds, and how it is opened."""

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.new_folder import new_folder
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import DatasetInfo
from pinfm.train.data.prepare import PrepareOptions
from pinfm.train.data.sources.events import ColumnNames
from pinfm.train.data.splits.by_time import find_splits
from pinfm.train.data.splits.rule import SplitRule


def test_no_id_time_code_or_count_is_written_as_a_float(dataset):
    # What DuckDB adds up has 128 bits, which its Parquet writer makes doubles of.
    for path in sorted(dataset.rglob("*.parquet")):
        types = {field.name: field.type for field in pyarrow.parquet.read_schema(path)}
        floats = {name for name, type_ in types.items() if "float" in str(type_) or "double" in str(type_)}
        assert floats <= {"position", "content"}, path
        assert types["item_id"] in (pyarrow.int64(), pyarrow.list_(pyarrow.int64()))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_events_are_bucketed_sorted_and_coded(logs, kind):
    logs.write(kind)
    dataset = logs.prepare(kind)
    assert dataset.info.schema.surfaces == ("home",)  # `late` is first seen after the training split
    frames = [dataset.events(bucket).to_pandas() for bucket in range(2)]
    users = [set(frame.user_id) for frame in frames]
    assert users[0].isdisjoint(users[1])
    events = pd.concat(frames).sort_values("timestamp")
    assert events.item_id.tolist() == list(range(100, 110))
    assert events.action.tolist() == [1, 2] * 5
    assert events.surface.tolist() == [1] * 8 + [0, 0]


def test_requests_keep_their_candidates_in_order(logs):
    logs.write()
    dataset = logs.prepare()
    requests = [row for bucket in range(2) for row in dataset.requests("train", bucket).to_pylist()]
    assert sorted(row["request_id"] for row in requests) == list(range(8))
    second = next(row for row in requests if row["request_id"] == 2)
    assert second == {
        "request_id": 2,
        "user_id": 1,
        "timestamp": 3 * 3600,
        "surface": 1,
        "item_id": [105, 102],
        "created_at": [10, 10],
        "label_click": [True, False],
        "price": [1.5, 2.0],
        "shop": [7, 8],
        "brand": [5, 5],
        "hour": 2,
    }
    assert dataset.info.counts.requests == {"train": 8, "validation": 1, "test": 1}
    assert dataset.info.counts.impressions == {"train": 16, "validation": 2, "test": 2}


def test_items_hold_all_that_occur(logs):
    logs.write()
    dataset = logs.prepare()
    items = dataset.items().to_pandas().set_index("item_id")
    assert items.index.tolist() == list(range(100, 113))
    assert items.loc[108].tolist() == [6 * 3600, 0, 0]  # not in the table: first shown at six, no brand, no `save`
    assert items.event_count.tolist() == [0, 1, 0, 1, 0, 1, 0, 1] + [0] * 5  # `save` in the training split


def test_statistics_are_those_of_the_training_split(logs):
    logs.write()
    features = {feature.name: feature for feature in logs.prepare().info.schema.features}
    squashed = np.log1p([1.5, 2.0])
    assert features["price"].mean == pytest.approx(squashed.mean())
    assert features["price"].std == pytest.approx(squashed.std())
    assert features["hour"].num_values == 8
    assert features["hour"].scope == "request"
    assert features["brand"].num_values == 2  # 5, and 0 for the items that the table lacks


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (80, 90)),
        ({"validation_start": 40}, (40, 70)),
        ({"test_start": 45}, (40, 45)),
        ({"validation_start": 95}, (95, 98)),
        ({"validation_start": 99}, (99, 100)),
        ({"validation_start": 30, "test_start": 95}, (30, 95)),
        ({"validation_start": 200}, (200, 200)),
    ],
)
def test_a_bound_that_is_not_given_keeps_its_share(given, expected):
    times = "SELECT range AS timestamp, 1 AS weight FROM range(100)"
    splits = find_splits(duckdb.connect(), times, SplitRule(**given))
    assert (splits["validation"][0], splits["test"][0]) == expected
    assert splits["train"][0] == 0


def test_a_features_name_does_not_change_the_order_of_candidates(logs):
    order = {"shown_at": [-row for row in range(20)]}
    logs.write(impressions=lambda table: table.assign(**order))
    dataset = logs.prepare(dense_features=["price", "shown_at"])
    buckets = range(dataset.info.num_buckets)
    shown = {row["request_id"]: row["item_id"] for b in buckets for row in dataset.requests("train", b).to_pylist()}
    assert shown[0] == [103, 100]


def test_content_is_zero_where_unknown(logs):
    logs.write("parquet", items=lambda table: table.assign(content=[[1.0, 2.0]] * 8))
    dataset = logs.prepare("parquet")
    assert dataset.info.schema.content_dim == 2
    assert dataset.items()["content"].to_pylist() == [[1.0, 2.0]] * 8 + [[0.0, 0.0]] * 5


def test_columns_may_have_other_names(logs):
    logs.tables = {name: table.rename(columns={"user_id": "uid"}) for name, table in logs.tables.items()}
    logs.write()
    assert logs.prepare(columns=ColumnNames(user_id="uid")).info.counts.users == 2


def test_without_impressions_it_serves_pretraining(logs):
    logs.write()
    fields = {"impressions": None, "items": None, "tasks": [], "item_attributes": []}
    features = {"dense_features": [], "categorical_features": [], "request_features": []}
    dataset = logs.prepare(**fields, **features)
    assert dataset.info.schema.tasks == ()
    assert dataset.info.splits["train"] == (3600, 9 * 3600)
    with pytest.raises(UserError, match="holds no impressions"):
        dataset.requests("train", 0)


def test_a_folder_of_files_is_one_table(logs):
    logs.write()
    (logs.folder / "many").mkdir()
    table = logs.tables["events"]
    table.iloc[:5].to_csv(logs.folder / "many" / "a.csv", index=False)
    table.iloc[5:].assign(action="buy").to_csv(logs.folder / "many" / "b.csv", index=False)
    with pytest.raises(UserError, match=r"b\.csv, row 2, column action: 'buy'"):
        logs.prepare(path=logs.folder / "many")
    assert logs.prepare(path=logs.folder / "many", on_bad_rows="skip").info.counts.events == 5


def test_the_description_survives_json(logs):
    logs.write()
    info = logs.prepare().info
    assert DatasetInfo.from_json(info.to_json()) == info


def test_opening_what_is_no_dataset_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match=r"is no prepared dataset \(it has no dataset.json\)"):
        PreparedDataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(UserError, match="describes no prepared dataset"):
        PreparedDataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(UserError, match="has format version 99, this pinfm reads 1"):
        PreparedDataset.open(tmp_path)


def test_reading_what_is_not_there_is_an_error(logs):
    logs.write()
    dataset = logs.prepare()
    with pytest.raises(UserError, match="has no split 'holdout'"):
        dataset.requests("holdout", 0)
    with pytest.raises(UserError, match=r"bucket-00007\.parquet is missing"):
        dataset.events(7)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path):
    def interrupted() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_one_stands_in_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_folder(Path(".")) as folder:
        (folder / "new").write_text("x")
    assert (tmp_path / "here" / "new").read_text() == "x"


def test_a_link_to_an_empty_folder_is_filled(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with new_folder(tmp_path / "link") as folder:
        (folder / "new").write_text("x")
    assert (tmp_path / "empty" / "new").read_text() == "x"


def test_a_folder_that_appeared_meanwhile_is_named(tmp_path: Path):
    (tmp_path / "other" / "something").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot create .*out \(.*\); choose another"), new_folder(tmp_path / "out"):
        shutil.copytree(tmp_path / "other", tmp_path / "out")


def test_an_existing_folder_is_kept(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:  # empty: it may be replaced
        (folder / "new").write_text("x")
    with pytest.raises(UserError, match="exists and is not an empty folder"), new_folder(tmp_path / "out"):
        pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot create a folder beside"), new_folder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize("field", ["max_history", "num_buckets", "memory_gib"])
def test_options_are_positive(field):
    with pytest.raises(UserError, match=rf"{field} \(0\) must be positive"):
        PrepareOptions(**{field: 0})
