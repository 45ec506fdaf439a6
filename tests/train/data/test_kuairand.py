"""KuaiRand: a log of a few rows whose outcome is known, and the counts of the real one."""

from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pytest

import pinfm.train.data.sample as sample
from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.kuairand import FIRST_DAY, STEMS, TEST_START, USER_CODES, USER_NUMBERS, KuaiRand

MONDAY = 1650816000  # 2022-04-25 00:00 in Beijing


def write_tables(folder: Path) -> None:
    def impression(user, video, second, click=0, long_view=0, tab=1):
        columns = {"user_id": user, "video_id": video, "time_ms": second * 1000 + 7, "is_click": click}
        rest = {"long_view": long_view, "is_like": 0, "is_profile_enter": 0, "duration_ms": 9500, "tab": tab}
        return columns | rest

    log = [
        impression(1, 10, MONDAY, click=1),
        impression(1, 11, MONDAY + 60, click=1, long_view=1, tab=4),
        impression(1, 10, MONDAY + 120),  # a repeat opens a request
        impression(1, 12, MONDAY + 120 + 1800),  # so does a pause of half an hour
        impression(1, 13, TEST_START - 1, click=1),
        impression(1, 14, TEST_START),  # and a split
    ]
    past = {"user_id": 1, "history_len": 3, "last_time_ms": (FIRST_DAY + 300) * 1000}
    lists = {"watch_seq": "10 11 12", "like_seq": None, "long_watch_seq": "11"}
    user = {"user_id": 1, "user_active_degree": "full_active"} | dict.fromkeys((*USER_CODES, *USER_NUMBERS), 3)
    ranges = {f"{column}_range": "a" for column in USER_NUMBERS}
    video = {"author_id": 0, "video_type": "NORMAL", "upload_dt": "2022-04-10", "upload_type": "Web"}
    tables = {
        "kuairand_log": log,
        "kuairand_sequences": [past | lists],
        "kuairand_users": [user | ranges],
        "kuairand_videos": [{"video_id": 10, **video, "music_type": 9.0, "tag": "39,2"}],
    }
    for table, rows in tables.items():
        pd.DataFrame(rows).to_csv(folder / f"{STEMS[table]}.csv", index=False)


@pytest.fixture
def small(tmp_path: Path) -> PreparedDataset:
    write_tables(tmp_path)
    prepare(KuaiRand(path=tmp_path), tmp_path / "out", PrepareOptions(num_buckets=1))
    return PreparedDataset.open(tmp_path / "out")


@pytest.mark.parametrize(
    ("table", "column", "value", "match"),
    [
        ("kuairand_sequences", "watch_seq", "10 x 12", "'10 x 12' is not a list of integers with single spaces"),
        ("kuairand_sequences", "watch_seq", "10  12", "'10  12' is not a list of integers"),
        ("kuairand_sequences", "watch_seq", "11.6", "'11.6' is not a list of integers"),
        ("kuairand_sequences", "last_time_ms", -5, "column last_time_ms: '-5' is negative .*give Unix milliseconds"),
        ("kuairand_sequences", "history_len", -1, "column history_len: '-1' is negative"),
        ("kuairand_log", "time_ms", -1, r"row 2, column time_ms: '-1' is negative"),
        ("kuairand_log", "time_ms", 10**16, r"column time_ms: '1\d+' lies in the future"),
        ("kuairand_videos", "tag", "39;2", "column tag: '39;2' is not a list of integers with commas"),
        ("kuairand_videos", "upload_dt", "10.4.2022", "column upload_dt: '10.4.2022' is not a date such as"),
    ],
)
def test_a_bad_value_is_named_or_counted_once(tmp_path, table, column, value, match):
    write_tables(tmp_path)
    file = tmp_path / f"{STEMS[table]}.csv"
    rows = pd.read_csv(file).astype({column: object})
    rows.loc[0, column] = value
    rows.to_csv(file, index=False)
    source = KuaiRand(path=tmp_path)
    with pytest.raises(UserError, match=match):
        prepare(source, tmp_path / "out", PrepareOptions(num_buckets=1))
    if table == "kuairand_log":
        prepare(source, tmp_path / "out", PrepareOptions(num_buckets=1, on_bad_rows="skip"))
        assert sum(PreparedDataset.open(tmp_path / "out").info.counts.rejected.values()) == 1


def test_requests_open_at_pauses_repeats_and_splits(small):
    found = {split: small.requests(split, 0)["item_id"].to_pylist() for split in small.info.splits}
    assert found == {"train": [[10, 11], [10], [12]], "validation": [[13]], "test": [[14]]}
    assert small.info.counts.impressions == {"train": 4, "validation": 1, "test": 1}


def test_events_are_the_past_and_the_log(small):
    events = small.events(0).to_pandas()
    names = ["", *small.info.schema.actions]
    assert [names[code] for code in events.action] == [
        *("seen", "long_view", "seen"),
        *("click", "long_view", "skip", "skip", "click", "skip"),
    ]
    assert events.timestamp.tolist()[:4] == [FIRST_DAY + 100, FIRST_DAY + 200, FIRST_DAY + 300, MONDAY]
    assert events.surface.tolist()[:5] == [0, 0, 0, 1, 2]
    assert small.info.counts.source == {"watch_seq": 3, "long_watch_seq": 1, "like_seq": 0, "past_events": 3}


def test_features_are_coded_from_one(small):
    first = small.requests("train", 0).to_pylist()[0]
    assert (first["hour"], first["weekday"], first["tab"]) == (1, 1, [2, 5])
    assert (first["author_id"], first["tag"], first["tag_2"], first["music_type"]) == ([1, 0], [40, 0], [3, 0], [10, 0])
    assert (first["onehot_feat3"], first["register_days"], first["duration"]) == (4, 3.0, [9.5, 9.5])
    assert first["created_at"] == [FIRST_DAY + 86400, FIRST_DAY + 200]


def test_skips_may_be_left_out(tmp_path):
    write_tables(tmp_path)
    report = prepare(KuaiRand(path=tmp_path, include_skips=False), tmp_path / "out", PrepareOptions())
    assert report["counts"]["events"] == 4


def test_a_folder_without_the_tables_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"holds no log_standard_4_25_to_5_08_pure\.csv\.gz or"):
        prepare(KuaiRand(path=tmp_path), tmp_path / "out", PrepareOptions())


def test_a_bad_row_is_named_in_its_own_file(tmp_path):
    write_tables(tmp_path)
    path = tmp_path / f"{STEMS['kuairand_log']}.csv"
    path.write_text(path.read_text().replace(f"{MONDAY}007", "noon"))
    with pytest.raises(
        UserError, match=r"pure\.csv, row 2, column time_ms: 'noon' is not Unix milliseconds as an integer"
    ):
        prepare(KuaiRand(path=tmp_path), tmp_path / "out", PrepareOptions())


def test_the_sample_has_the_published_counts(tmp_path):
    prepare(KuaiRand(), tmp_path / "out", PrepareOptions(num_buckets=2))
    dataset = PreparedDataset.open(tmp_path / "out")
    counts = dataset.info.counts
    assert sum(counts.impressions.values()) == 228_329
    assert counts.outside_splits == 0
    ids = {"watch_seq": 817_187, "like_seq": 22_534, "long_watch_seq": 390_929}
    assert {name: counts.source[name] for name in ids} == ids
    assert counts.events == counts.source["past_events"] + 228_329
    requests = pyarrow.concat_tables(
        dataset.requests(split, bucket) for split in dataset.info.splits for bucket in range(2)
    )
    rates = {"click": 0.442, "long_view": 0.311, "like": 0.017, "profile_enter": 0.019}
    for task, rate in rates.items():
        assert pc.mean(pc.list_flatten(requests[f"label_{task}"]).cast("int8")).as_py() == pytest.approx(rate, abs=5e-4)
    assert len(pc.unique(requests["user_id"])) == 25_156
    assert len(pc.unique(pc.list_flatten(requests["item_id"]))) == 6_361
    assert len(dataset.info.schema.surfaces) == 15


@pytest.mark.slow
def test_the_sample_is_the_whole_data_set(shared_data, tmp_path):
    for out, source in (("csv", KuaiRand(path=shared_data / "kuairand_pure_part")), ("sample", KuaiRand())):
        prepare(source, tmp_path / out, PrepareOptions(num_buckets=2))
    files = sorted(path.relative_to(tmp_path / "csv") for path in (tmp_path / "csv").rglob("*") if path.is_file())
    assert len(files) == 10
    for file in files:
        assert (tmp_path / "csv" / file).read_bytes() == (tmp_path / "sample" / file).read_bytes()


def test_the_sample_is_small_and_has_its_licence():
    folder = Path(str(sample.__file__)).parent
    assert sum(path.stat().st_size for path in folder.glob("*.parquet")) <= 8_000_000
    assert "Attribution-ShareAlike 4.0" in (folder / "LICENSE").read_text()
    assert "https://kuairand.com" in (folder / "NOTICE").read_text()
