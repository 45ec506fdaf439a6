"""`prepare --live-counts`: what a dataset's requests carry, against a plain loop over the raw log."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.model.live_counts import ALL, first_second
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS, DatasetInfo
from pinfm.train.data.live import marks, write
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.prepare import prepare
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.simulate import Simulate

KEYS = ("item", "shop", "user.shop")
WINDOWS = ("1min", "1h", ALL)
DELAY = 60
KINDS = ("impression", "click", "add to cart", "label_buy")
MOMENT = st.integers(1_000_000, 1_000_300) | st.integers(1_000_000, 1_020_000)


@st.composite
def logs(draw):
    """Events, impressions and items; requests are short, and their rows may be seconds apart."""
    users, items = st.integers(1, 3), st.integers(1, 4)
    action = st.sampled_from(["click", "add to cart"])
    events = draw(st.lists(st.tuples(users, MOMENT, action, items), min_size=1, max_size=12))
    shown = []
    for request in range(draw(st.integers(1, 5))):
        user, start = draw(users), draw(MOMENT)
        for item in draw(st.lists(items, min_size=1, max_size=3, unique=True)):
            shown.append(
                (request, user, start + draw(st.integers(0, 90)), item, draw(st.booleans()), draw(st.booleans()))
            )
    shops = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    return (
        pd.DataFrame(events, columns=["user_id", "timestamp", "action", "item_id"]),
        pd.DataFrame(shown, columns=["request_id", "user_id", "timestamp", "item_id", "click", "buy"]),
        pd.DataFrame({"item_id": range(1, 5), "created_at": 10, "shop": shops}),
    )


def prepared(folder, tables, **options):
    for name, table in zip(("events", "impressions", "items"), tables, strict=True):
        table.to_parquet(folder / f"{name}.parquet")
    source = Events(
        path=folder / "events.parquet",
        impressions=folder / "impressions.parquet",
        items=folder / "items.parquet",
        actions=["click", "add to cart"],
        tasks=["click", "buy"],
        item_attributes=["shop"],
    )
    wanted = {
        "live_counts": list(KEYS),
        "live_counts_windows": list(WINDOWS),
        "live_counts_kinds": list(KINDS),
        "live_counts_label_delay_minutes": DELAY / 60,
        "num_buckets": 3,  # users 1, 2 and 3 have one each
    }
    prepare(source, folder / "dataset", PrepareOptions(**{**wanted, **options}))
    return PreparedDataset.open(folder / "dataset")


def plain_marks(tables):
    """(user, item, second, kind) of everything that counts."""
    events, impressions, _ = tables
    rows = [(row.user_id, row.item_id, row.timestamp, row.action) for row in events.itertuples()]
    for row in impressions.itertuples():
        rows.append((row.user_id, row.item_id, row.timestamp, "impression"))
        if row.buy:
            rows.append((row.user_id, row.item_id, row.timestamp + DELAY, "label_buy"))
    return rows


def plain_counts(tables, user, item, time):
    """What a request of a user at a time has to say of an item."""
    shops = dict(zip(tables[2].item_id, tables[2].shop, strict=True))
    same = {
        "item": lambda u, i: i == item,
        "shop": lambda u, i: shops[i] == shops[item] != 0,
        "user.shop": lambda u, i: u == user and shops[i] == shops[item] != 0,
    }
    counts = []
    for key in KEYS:
        for window in WINDOWS:
            begin = 0 if window == ALL else first_second(time, window)
            seen = [kind for u, i, second, kind in plain_marks(tables) if same[key](u, i) and begin <= second < time]
            counts += [seen.count(kind) for kind in KINDS]
    return counts


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables=logs(), small=st.booleans())
def test_every_request_carries_what_a_plain_loop_counts(tables, small):
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        if small:  # so that even this log is counted in parts
            patch.setattr(marks, "_MARKS_PER_PART", 2)
            patch.setattr(write, "_QUERIES_PER_LOOKUP", 1)
        dataset = prepared(Path(folder), tables)
        spec = dataset.info.schema.live_counts
        assert spec.kinds == KINDS
        checked = 0
        for split in SPLITS:
            for bucket in range(dataset.info.num_buckets):
                for request in dataset.requests(split, bucket).to_pylist():
                    for place, item in enumerate(request["item_id"]):
                        found = [request[name][place] for name in spec.names()]
                        assert found == plain_counts(tables, request["user_id"], item, request["timestamp"])
                        checked += 1
        assert checked == len(tables[1])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "dataset"
    options = PrepareOptions(live_counts=["item", "user.topic"], live_counts_windows=["1d", "all"])
    prepare(Simulate(num_users=60, num_items=40, num_days=6, requests_per_user=8), out, options)
    return PreparedDataset.open(out)


def test_statistics_are_those_of_the_training_split(simulated):
    rows = [simulated.requests("train", bucket) for bucket in range(simulated.info.num_buckets)]
    features = {feature.name: feature for feature in simulated.info.schema.features}
    for name in simulated.info.schema.live_counts.names():
        values = np.log1p(np.concatenate([np.concatenate(table[name].to_pylist() or [[]]) for table in rows]))
        assert features[name].mean == pytest.approx(values.mean(), abs=1e-7)
        assert features[name].std == pytest.approx(values.std() or 1.0, abs=1e-7)


def test_rates_are_marks_for_each_impression_of_the_training_split(simulated):
    spec, end = simulated.info.schema.live_counts, simulated.info.train_end
    # An event carries the strongest action: of clicks there are fewer events than labels.
    assert list(spec.rates) == ["click", "save", "hide", "label_click"]
    buckets = range(simulated.info.num_buckets)
    requests = [row for bucket in buckets for row in simulated.requests("train", bucket).to_pylist()]
    shown = sum(len(row["item_id"]) for row in requests)
    clicks = sum(sum(row["label_click"]) for row in requests if row["timestamp"] + spec.label_delay_seconds < end)
    assert spec.rates["label_click"] == clicks / shown > 0
    events = [row for bucket in buckets for row in simulated.events(bucket).to_pylist() if row["timestamp"] < end]
    for code, action in enumerate(simulated.info.schema.actions, 1):
        assert spec.rates[action] == sum(row["action"] == code for row in events) / shown > 0


def test_labels_count_where_no_event_tells_them(tmp_path):
    event = pd.DataFrame({"user_id": [1], "timestamp": [1_000_000], "action": ["click"], "item_id": [1]})
    shown = pd.DataFrame({"request_id": [1], "user_id": [1], "timestamp": [1_000_001], "item_id": [1]})
    items = pd.DataFrame({"item_id": [1], "created_at": [10], "shop": [1]})
    dataset = prepared(tmp_path, (event, shown.assign(click=True, buy=True), items), live_counts_kinds=[])
    assert dataset.info.schema.live_counts.kinds == ("impression", "click", "add to cart", "label_buy")


def test_columns_are_read_from_either_file(simulated):
    bucket = next(b for b in range(simulated.info.num_buckets) if simulated.num_requests("train", b))
    table = simulated.requests("train", bucket, ["timestamp", "item_click_all"])
    assert table.column_names == ["timestamp", "item_click_all"]
    assert len(table) == simulated.num_requests("train", bucket)


def test_a_dataset_says_again_what_it_counts(simulated):
    assert DatasetInfo.from_json(simulated.info.to_json()) == simulated.info
    assert not list(simulated.path.rglob("work"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"live_counts": ["size"]}, "--live-counts names 'size', which is none of item, shop, user.shop"),
        ({"live_counts_kinds": ["view"]}, "--live-counts-kinds names 'view', which is none of impression, label_click"),
        ({"live_counts_kinds": ["click", "click"]}, "live_counts.kinds names 'click' twice"),
    ],
)
def test_what_the_log_does_not_have_is_refused(tmp_path, options, message):
    event = pd.DataFrame({"user_id": [1], "timestamp": [1_000_000], "action": ["click"], "item_id": [1]})
    shown = pd.DataFrame({"request_id": [1], "user_id": [1], "timestamp": [1_000_001], "item_id": [1]})
    items = pd.DataFrame({"item_id": [1], "created_at": [10], "shop": [1]})
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, (event, shown.assign(click=True, buy=False), items), **options)


@pytest.fixture(scope="module")
def small_log():
    event = pd.DataFrame({"user_id": [1], "timestamp": [1_000_000], "action": ["click"], "item_id": [1]})
    shown = pd.DataFrame({"request_id": [1], "user_id": [1], "timestamp": [1_000_100], "item_id": [1]})
    shown = shown.assign(click=True, item_click_1min=0.5)
    items = pd.DataFrame({"item_id": [1], "created_at": [10], "shop": [7], "kind": [2], "marks": [3]})
    return event, shown, items.assign(item_click_1h=5)


def with_columns(folder, tables, live_counts, **fields):
    for name, table in zip(("events", "impressions", "items"), tables, strict=True):
        table.to_parquet(folder / f"{name}.parquet")
    files = {"impressions": folder / "impressions.parquet", "items": folder / "items.parquet"}
    source = Events(path=folder / "events.parquet", **files, actions=["click"], tasks=["click"], **fields)
    options = PrepareOptions(live_counts=live_counts, live_counts_windows=["1min", "1h"], num_buckets=1)
    prepare(source, folder / "dataset", options)
    return PreparedDataset.open(folder / "dataset").requests("train", 0).to_pylist()


def test_attributes_may_be_called_like_columns_of_ours(tmp_path, small_log):
    attributes = ["shop", "kind", "marks"]
    (request,) = with_columns(tmp_path, small_log, ["shop", "user.marks"], item_attributes=attributes)
    assert (request["shop_click_1h"], request["user_marks_click_1h"]) == ([1], [1])


@pytest.mark.parametrize(
    ("live_counts", "fields", "message"),
    [
        ("item", {"dense_features": ["item_click_1min"]}, "'item_click_1min' has the name of one of the counters of"),
        ("item", {"item_attributes": ["item_click_1h"]}, "'item_click_1h' has the name of one of the counters of"),
        ("user.kind", {"item_attributes": ["kind"]}, "the attribute 'kind' has the name of another column of marks"),
    ],
)
def test_a_name_that_is_taken_is_refused(tmp_path, small_log, live_counts, fields, message):
    with pytest.raises(UserError, match=message):
        with_columns(tmp_path, small_log, [live_counts], **fields)


def test_without_impressions_there_is_nobody_to_count_for(tmp_path):
    event = pd.DataFrame({"user_id": [1], "timestamp": [1_000_000], "action": ["click"], "item_id": [1]})
    event.to_parquet(tmp_path / "events.parquet")
    source = Events(path=tmp_path / "events.parquet", actions=["click"])
    with pytest.raises(UserError, match="--live-counts counts for requests, and this log has no impressions"):
        prepare(source, tmp_path / "dataset", PrepareOptions(live_counts=["item"]))


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"actions": ["click", "label_x"]}, {}, "the action 'label_x' has a name that --live-counts uses itself; ren"),
        ({}, {"live_counts_kinds": ["impression"]}, "names 'impression', but these candidates are drawn and were nev"),
        ({}, {"live_counts_kinds": ["label_click"]}, "names 'label_click', but these candidates are drawn and were n"),
        (
            {"sampled_candidates": "session", "order_only": "file"},
            {},
            "--live-counts needs times, and the log has an order alone; leave it out",
        ),
    ],
)
def test_a_log_that_can_not_be_counted_so_is_refused(tmp_path, fields, options, message):
    event = pd.DataFrame({"user_id": [1], "timestamp": [1_000_000], "action": ["click"], "item_id": [1]})
    kept = event.drop(columns="timestamp") if "order_only" in fields else event
    kept.to_parquet(tmp_path / "events.parquet")
    wanted = {"path": tmp_path / "events.parquet", "actions": ["click"], "sampled_candidates": "uniform", **fields}
    with pytest.raises(UserError, match=message):
        prepare(Events(**wanted), tmp_path / "dataset", PrepareOptions(live_counts=["item"], **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"live_counts": ["item"], "live_counts_windows": ["90s"]},
            "the window '90s' is no length of time; write it as",
        ),
        ({"live_counts": ["item"], "live_counts_label_delay_minutes": -1.0}, "label_delay_minutes .-1.0. must lie"),
        ({"live_counts_windows": ["1h"]}, "the flags of --live-counts are given without it"),
    ],
)
def test_flags_that_no_log_could_obey_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        PrepareOptions(**options)


@pytest.mark.parametrize(
    ("hours", "windows"),
    [
        (0.5, ("15min", "all")),
        (6, ("15min", "1h", "all")),
        (24 * 7, ("15min", "1h", "6h", "1d", "all")),
        (24 * 60, ("1h", "6h", "1d", "7d", "all")),
    ],
)
def test_windows_go_by_the_length_of_the_log(tmp_path, hours, windows):
    times = [1_000_000 + round(3600 * hours * tenth / 10) for tenth in range(11)]
    shown = pd.DataFrame({"request_id": range(11), "user_id": 1, "timestamp": times, "item_id": 1})
    items = pd.DataFrame({"item_id": [1], "created_at": [10], "shop": [1]})
    event = pd.DataFrame({"user_id": [1], "timestamp": [1_000_000], "action": ["click"], "item_id": [1]})
    dataset = prepared(tmp_path, (event, shown.assign(click=True, buy=False), items), live_counts_windows=[])
    assert dataset.info.schema.live_counts.windows == windows
