"""Where items become old is read off how old they are when they are shown."""

import json

import pandas as pd
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.cli.main import main
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import DatasetInfo
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate

MINUTE, HOUR, DAY = 60, 3600, 86_400


def thresholds(logs, ages_of_ten, **options):
    """Those of a log that shows items of ten ages, of which the first eight are training."""
    shown = logs.tables["impressions"].groupby("request_id").head(1).reset_index(drop=True)
    shown = shown.assign(timestamp=1000 * DAY + shown["request_id"], item_id=500 + shown["request_id"])
    items = pd.DataFrame({"item_id": shown["item_id"], "created_at": shown["timestamp"] - ages_of_ten, "brand": 5})
    logs.tables |= {"impressions": shown, "items": items}
    logs.tables["events"] = logs.tables["events"].assign(timestamp=1000 * DAY + pd.RangeIndex(10))
    logs.write()
    prepare(logs.source(), logs.folder / "out", PrepareOptions(num_buckets=2, **options))
    return PreparedDataset.open(logs.folder / "out").info.item_age_thresholds


@pytest.mark.parametrize(
    ("ages", "found"),
    [
        # Two of the eight of training are as old as that.
        ([MINUTE] * 6 + [7 * DAY] * 2, ("7d", "28d")),
        ([MINUTE] * 6 + [7 * DAY, 7 * DAY - 1], ("1d", "4d")),
        ([MINUTE] * 6 + [DAY - 1] * 2, ("6h", "1d")),
        ([MINUTE] * 6 + [HOUR] * 2, ("1h", "4h")),
        ([MINUTE] * 7 + [100 * DAY], ("15min", "1h")),
        ([100 * DAY] * 8, ("7d", "28d")),
        ([0] * 8, ("15min", "1h")),
    ],
)
def test_the_oldest_pair_that_leaves_a_quarter_of_what_is_shown_no_longer_young(logs, ages, found):
    assert thresholds(logs, [*ages, 1000 * DAY, 1000 * DAY]) == found  # what comes later tells nothing


def test_they_may_be_given(logs):
    assert thresholds(logs, [100 * DAY] * 10, item_age_thresholds=["2h", "1d"]) == ("2h", "1d")
    with pytest.raises(UserError, match=r"item_age_thresholds \(\[4h, 1h\]\) must be two ages that ascend"):
        PrepareOptions(item_age_thresholds=["4h", "1h"])


def test_the_command_line_takes_and_tells_them(logs, tmp_path, capsys):
    flags = ["simulate", "--num-users", "30", "--num-items", "40", "--num-days", "5", "--out", str(tmp_path / "world")]
    report = tmp_path / "report.json"
    assert main(["prepare", *flags, "--item-age-thresholds", "[1h, 4h]", "--report", str(report)]) == 0
    assert "items are young below 1h, old from 4h on" in capsys.readouterr().out
    assert json.loads(report.read_text())["item_age_thresholds"] == ["1h", "4h"]
    assert main(["prepare", *flags[:-1], str(tmp_path / "no"), "--item-age-thresholds", "[1 hour, 4h]"]) == 2
    assert "item_age_thresholds ([1 hour, 4h]) must be two ages that ascend" in capsys.readouterr().err


def test_kuairand_and_the_simulator_keep_the_papers(tmp_path):
    prepare(KuaiRand(), tmp_path / "kuairand", PrepareOptions(num_buckets=2))
    prepare(Simulate(num_users=300), tmp_path / "world", PrepareOptions(num_buckets=2))
    for name in ("kuairand", "world"):
        assert DatasetInfo.read(tmp_path / name).item_age_thresholds == ("7d", "28d")


def test_a_log_without_impressions_is_measured_by_its_events(logs):
    logs.tables["events"] = logs.tables["events"].assign(timestamp=100 * DAY + pd.RangeIndex(10) * HOUR, item_id=100)
    logs.write()
    nothing = {"impressions": None, "items": None, "tasks": [], "item_attributes": []}
    features = {"dense_features": [], "categorical_features": [], "request_features": []}
    # An item is as old as its first event: of eight events on one item, an hour apart, two are six hours old.
    assert logs.prepare(**nothing, **features).info.item_age_thresholds == ("6h", "1d")


def test_a_dataset_of_before_has_the_papers(logs):
    logs.write()
    fields = json.loads(logs.prepare().info.to_json())
    assert fields["item_age_thresholds"] != ["7d", "28d"]
    del fields["item_age_thresholds"]
    assert DatasetInfo.from_json(json.dumps(fields)).item_age_thresholds == ("7d", "28d")
    fields["item_age_thresholds"] = ["28d", "7d"]
    with pytest.raises(UserError, match=r"dataset\.json: item_age_thresholds \(\[28d, 7d\]\) must be two ages"):
        DatasetInfo.from_json(json.dumps(fields))
