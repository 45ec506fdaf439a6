"""Each user's newest rows held out, against loops over users."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS, DatasetInfo
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.events import Events
from pinfm.train.evaluation.queries import split_queries
from pinfm.train.loader.segments import SegmentSource

ACTIONS = ["click", "skip"]


def random_log(seed: int, users: int = 40, events: int = 260) -> pd.DataFrame:
    """Few distinct times, so that many events of a user have the same one."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, users, events),
            "timestamp": np.sort(rng.integers(1, 30, events)) * 1000,
            "action": rng.choice(ACTIONS, events, p=[0.8, 0.2]),
            "surface": "home",
            "item_id": rng.integers(0, 50, events),
        }
    )


def prepared(folder, log, impressions=None, **flags) -> PreparedDataset:
    log.to_parquet(folder / "log.parquet")
    flags = {"actions": ACTIONS, "positive_actions": ["click"], "time_unit": "seconds", **flags}
    if impressions is not None:
        impressions.to_parquet(folder / "shown.parquet")
        flags |= {"impressions": folder / "shown.parquet", "tasks": ["click"], "dense_features": ["price"]}
    prepare(Events(path=folder / "log.parquet", **flags), folder / "out", PrepareOptions(num_buckets=2))
    return PreparedDataset.open(folder / "out")


def events_of(dataset) -> dict[int, list[dict]]:
    found: dict[int, list[dict]] = {}
    for bucket in range(dataset.info.num_buckets):
        for event in dataset.events(bucket).to_pylist():
            found.setdefault(event["user_id"], []).append(event)
    return found


def expected_splits(actions: list[str], last: int) -> list[int]:
    """The split of each of a user's events, in order."""
    clicks = [place for place, action in enumerate(actions) if action == "click"]
    if len(clicks) <= 2 * last:
        return [0] * len(actions)
    return [2 if at >= clicks[-last] else 1 if at >= clicks[-2 * last] else 0 for at in range(len(actions))]


@pytest.mark.parametrize(
    ("flags", "last"),
    [({"split_by": "leave-one-out"}, 1), ({"split_by": "last", "split_last": 2}, 2)],
)
def test_each_users_newest_positive_events_are_held_out(tmp_path, flags, last):
    log = random_log(0)
    dataset = prepared(tmp_path, log, **flags)
    assert (dataset.info.split_last, dataset.info.splits) == (last, {})
    users = events_of(dataset)
    few = 0
    for user, rows in log.groupby("user_id"):
        splits = expected_splits(rows["action"].tolist(), last)
        assert [event["item_id"] for event in users[user]] == rows["item_id"].tolist()
        assert [event["split"] for event in users[user]] == splits
        few += not any(splits)
    assert 0 < few == dataset.info.counts.source["users_with_few_events"]
    assert any(f"{few} users have fewer than {2 * last + 1} positive events" in note for note in dataset.info.notes)
    counted = [sum(event["split"] == code for rows in users.values() for event in rows) for code in range(3)]
    assert dataset.info.counts.events_by_split == dict(zip(SPLITS, counted, strict=True))


@given(actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=12), last=st.integers(1, 3))
def test_any_order_of_actions_is_cut_at_positive_ones(tmp_path_factory, actions, last):
    # A second user with enough events, all at one time: places alone tell them apart.
    both = [("click", 1)] * (2 * last + 1) + [(action, 2) for action in actions]
    log = pd.DataFrame(both, columns=["action", "user_id"]).assign(
        timestamp=5000, surface="home", item_id=range(len(both))
    )
    dataset = prepared(tmp_path_factory.mktemp("log"), log, split_by="last", split_last=last)
    assert [event["split"] for event in events_of(dataset)[2]] == expected_splits(actions, last)


def test_training_alone_is_counted(tmp_path):
    log = random_log(1)
    log.loc[log.groupby("user_id").tail(1).index, ["surface", "item_id"]] = ["late", 99]
    log["action"] = "click"
    dataset = prepared(tmp_path, log, split_by="leave-one-out")
    users = events_of(dataset)
    training = [event for rows in users.values() for event in rows if event["split"] == 0]
    items = dataset.items().to_pandas().set_index("item_id")
    assert items["event_count"].to_dict() == {
        item: sum(event["item_id"] == item for event in training) for item in items.index
    }
    in_training = {event["item_id"] for event in training}
    known = set(dataset.known_items().tolist())
    assert in_training == known < set(items.index)
    assert dataset.item_attributes.num_positive_events == len(training)
    segments = SegmentSource(dataset, 4)
    read = [
        (int(bucket.user_id[s]), int(bucket.events["item_id"][bucket.start[s] + k]))
        for bucket in map(segments.read, range(2))
        for s in range(len(bucket.start))
        for k in range(bucket.length[s])
    ]
    longer = {user: rows for user, rows in users.items() if sum(event["split"] == 0 for event in rows) > 1}
    expected = [(user, event["item_id"]) for user, rows in longer.items() for event in rows if event["split"] == 0]
    assert len(read) > len(expected) // 2
    assert set(read) <= set(expected)
    # `late` is a surface of held-out events, and of the newest ones of users that are all training.
    few = [user for user, rows in users.items() if len(rows) < 3]
    assert dataset.info.schema.surfaces == (("home", "late") if few else ("home",))


def test_listed_items_are_known_where_they_were_there(tmp_path):
    log = pd.DataFrame(
        {"user_id": 1, "timestamp": [1000, 2000, 3000, 4000], "action": "click", "item_id": [1, 2, 3, 4]}
    )
    items = pd.DataFrame({"item_id": [4, 5, 6, 7], "created_at": [1500, 500, 3500, None]})
    items.to_parquet(tmp_path / "items.parquet")
    dataset = prepared(tmp_path, log, items=tmp_path / "items.parquet", split_by="leave-one-out")
    # 3 is first seen when it is held out; 4 and 5 were there before training ended, 6 was not, and who knows of 7.
    assert dataset.known_items().tolist() == [1, 2, 4, 5]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("last", [1, 2])
def test_queries_are_the_held_out_events_after_all_before(tmp_path, split, last):
    dataset = prepared(tmp_path, random_log(2), split_by="last", split_last=last)
    found = [
        (int(queries.events["user_id"][target]), first, target, queries.events["item_id"][first : target + 1].tolist())
        for queries in (split_queries(dataset, split, bucket) for bucket in range(2))
        for first, target in zip(queries.first_B.tolist(), queries.target_B.tolist(), strict=True)
    ]
    expected = [
        (user, [event["item_id"] for event in rows[: at + 1]])
        for user, rows in events_of(dataset).items()
        for at, event in enumerate(rows)
        if event["split"] == SPLITS.index(split) and event["action"] == 1
    ]
    assert sorted((user, items) for user, _, _, items in found) == sorted(expected)
    per_user = pd.Series([user for user, _ in expected]).value_counts()
    assert set(per_user) == {last}


def shown(seed: int) -> pd.DataFrame:
    """Requests of two items at times that users share with their events."""
    rng = np.random.default_rng(seed)
    users, times = rng.integers(0, 40, 150), rng.integers(1, 30, 150) * 1000
    rows = [
        (request, user, time, 100 * request + k, bool(rng.random() < 0.4))
        for request, (user, time) in enumerate(zip(users, times, strict=True))
        for k in range(2)
    ]
    table = pd.DataFrame(rows, columns=["request_id", "user_id", "timestamp", "item_id", "click"])
    return table.assign(surface="home", price=table["request_id"].astype(float))


def test_requests_are_held_out_with_what_follows_them(tmp_path):
    impressions = shown(3)
    dataset = prepared(tmp_path, random_log(3), impressions, split_by="leave-one-out")
    requests = {
        split: [row for bucket in range(2) for row in dataset.requests(split, bucket).to_pylist()] for split in SPLITS
    }
    by_split = {row["request_id"]: code for code, split in enumerate(SPLITS) for row in requests[split]}
    starts = impressions.drop_duplicates("request_id").sort_values(["timestamp", "request_id"])
    begins: dict[int, dict[int, int]] = {}
    for user, rows in starts.groupby("user_id"):
        held_out = [0] * (len(rows) - 2) + [1, 2] if len(rows) > 2 else [0] * len(rows)
        assert [by_split[request] for request in rows["request_id"]] == held_out
        times = rows["timestamp"].tolist()
        begins[user] = {1: times[-2], 2: times[-1]} if len(rows) > 2 else {}
    asked = split_queries(dataset, "test", 0)
    users, queries = np.unique(asked.events["user_id"][asked.target_B], return_counts=True)
    assert len(users) > 10
    assert set(queries.tolist()) == {1}  # of all the feedback that is held out the newest
    checked = 0
    for user, events in events_of(dataset).items():
        own = expected_splits([ACTIONS[event["action"] - 1] for event in events], 1)
        for event, by_place in zip(events, own, strict=True):
            feedback = max(
                [code for code, begin in begins.get(user, {}).items() if event["timestamp"] >= begin], default=0
            )
            assert event["split"] == max(by_place, feedback)
            checked += feedback > by_place
    assert checked > 10
    (price,) = (feature for feature in dataset.info.schema.features if feature.name == "price")
    values = np.log1p([row["price"][0] for row in requests["train"] for _ in range(2)])
    assert price.mean == pytest.approx(values.mean(), abs=1e-6)
    assert dataset.info.counts.requests == {split: len(requests[split]) for split in SPLITS}


def test_the_report_tells_the_places(table):
    rows = [f"{user},{item}" for user in range(4) for item in range(user + 1)]
    table.write("log.csv", "user_id,item_id\n" + "\n".join(rows) + "\n")
    for order in ("user", "file"):
        events = table.prepare("log.csv", "--action", "view", "--order-only", order, "--split-by", "leave-one-out")
        assert events["split"].tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 1, 2]
        (table.folder / "out").rename(table.folder / f"out_{order}")
    assert table.info["split_last"] == 1
    assert table.info["splits"] == {}
    printed = table.printed()
    assert "by place" in printed
    assert "each user's newest" in printed
    assert "note: 2 users have fewer than 3 positive events, which are all training." in printed


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--split-by", "leave-one-out", "--test-start", "2024-01-01"],
            "split_by is leave-one-out, which has no start in",
        ),
        (["--split-by", "last"], "split_last and split_by last belong together; give both, as in --split-by last"),
        (["--split-last", "2"], "split_last and split_by last belong together"),
        (["--split-by", "last", "--split-last", "0"], "split_last (0) must lie between 1 and 100,000"),
        (["--split-by", "last", "--split-last", "500000"], "split_last (500000) must lie between 1 and 100,000"),
        (
            ["--split-by", "last", "--split-last", "5"],
            "no user has 11 positive events: 5 to test, 5 to validate and one",
        ),
        (["--split-by", "days"], "split_by"),
    ],
)
def test_flags_that_do_not_fit_are_one_sentence(table, flags, sentence):
    table.write("log.csv", "user_id,timestamp,action,item_id\n" + "1,1700000000,click,2\n" * 10)
    assert sentence in table.refusal("log.csv", *flags)


def test_nobody_with_enough_requests_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no user has 41 requests: 20 to test, 20 to validate"):
        prepared(tmp_path, random_log(4), shown(4), split_by="last", split_last=20)


def test_a_dataset_of_before_reads_on(tmp_path):
    dataset = prepared(tmp_path, random_log(5), time_unit="seconds")
    fields = json.loads(dataset.info.to_json())
    del fields["split_last"], fields["counts"]["events_by_split"]
    read = DatasetInfo.from_json(json.dumps(fields))
    assert read == dataclasses.replace(
        dataset.info, counts=dataclasses.replace(dataset.info.counts, events_by_split={})
    )
    assert read.train_end == read.splits["train"][1]
    assert "split" not in dataset.events(0).column_names
    with pytest.raises(
        UserError, match="the splits for train, validation, test, or for none of them beside split_last"
    ):
        DatasetInfo.from_json(json.dumps({**fields, "split_last": 1}))
