"""What `prepare` measures of a log, against a plain count of its rows."""

import json

import numpy as np
import pandas as pd
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.cli.main import main
from pinfm.train.data.info import DatasetInfo
from pinfm.train.data.profile.profile import Profile

NOW, DAY = 1_750_000_000, 86_400


def prepared(folder, log, *flags):
    """The profile of a log of clicks."""
    log.to_csv(folder / "log.csv", index=False)
    words = ["prepare", "events", str(folder / "log.csv"), "--action", "click", "--out", str(folder / "dataset")]
    assert main([*words, *flags]) == 0
    return DatasetInfo.read(folder / "dataset").profile


def a_log(times):
    """Four users of 2, 4, 10 and 30 events on items of their own."""
    user_id = np.repeat([1, 2, 3, 4], [2, 4, 10, 30])
    return pd.DataFrame({"user_id": user_id, "item_id": np.arange(len(user_id)) % 7, "timestamp": times(len(user_id))})


def test_events_of_a_user_are_those_of_training(tmp_path):
    rng = np.random.default_rng(0)
    log = a_log(lambda n: NOW + rng.integers(0, 10 * DAY, n))
    profile = prepared(tmp_path, log, "--split-by", "leave-one-out")
    # Two are all training, of the others two events are held out.
    assert (profile.users, profile.events_median, profile.events_p99) == (4, 5.0, 28.0)
    assert profile.tells_time
    assert profile.positives == {}


def test_new_and_young_items_are_shares_of_validation(tmp_path):
    log = pd.DataFrame({"user_id": [1] * 10, "item_id": [1, 2, 1, 2, 1, 2, 3, 1, 3, 9]})
    log["timestamp"] = NOW + DAY * np.array([0, 1, 2, 3, 4, 5, 10, 10, 10, 11])
    days = [pd.Timestamp(NOW + day * DAY, unit="s").isoformat() for day in (9, 11)]
    splits = ["--validation-start", days[0], "--test-start", days[1], "--item-age-thresholds", "[2d, 4d]"]
    profile = prepared(tmp_path, log, *splits)
    assert (profile.unseen, profile.young) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize("order", ["file", "user"])
def test_an_order_tells_no_time(tmp_path, order):
    log = a_log(lambda n: np.arange(n)).drop(columns="timestamp")
    assert not prepared(tmp_path, log, "--order-only", order).tells_time


def test_numbered_rows_tell_no_time(tmp_path):
    assert not prepared(tmp_path, a_log(lambda n: NOW + np.arange(n))).tells_time


def test_labels_and_content_are_counted(dataset):
    info = DatasetInfo.read(dataset)
    described = json.loads((dataset / "dataset.json").read_text())["profile"]
    labels = pd.concat(
        pd.read_parquet(path, columns=["label_click", "label_save"])
        for path in (dataset / "impressions" / "train").glob("*.parquet")
    )
    assert described["positives"]["click"] == labels["label_click"].explode().astype(int).sum() > 0
    assert described["positives"]["save"] == labels["label_save"].explode().astype(int).sum() > 0
    assert info.profile.contents == info.counts.items
    items = pd.read_parquet(dataset / "items.parquet").set_index("item_id")
    shown = {
        split: pd.concat(
            pd.read_parquet(path, columns=["timestamp", "item_id"]).explode("item_id")
            for path in (dataset / "impressions" / split).glob("*.parquet")
        )
        for split in ("train", "validation")
    }
    events = pd.concat(pd.read_parquet(path) for path in (dataset / "events").glob("*.parquet"))
    known = {*shown["train"]["item_id"], *events[events["timestamp"] < info.train_end]["item_id"]}
    held_out = shown["validation"]
    ages = held_out["timestamp"].to_numpy() - items["created_at"].loc[held_out["item_id"]].to_numpy()
    assert info.profile.unseen == pytest.approx(1 - held_out["item_id"].isin(known).mean())
    assert info.profile.young == pytest.approx((ages < info.age_thresholds.young).mean())


def test_a_share_is_a_share():
    with pytest.raises(UserError, match=r"^profile\.unseen \(1\.5\) must lie between 0 and 1\.$"):
        Profile(tells_time=True, users=1, events_median=1.0, events_p99=1.0, unseen=1.5)
    with pytest.raises(UserError, match=r"^profile\.positives\.click \(-1\) must be at least 0\.$"):
        Profile(tells_time=True, users=1, events_median=1.0, events_p99=1.0, positives={"click": -1})
