"""The whole road on one device: prepare, pretrain, fine-tune, evaluate, export, score; served is what was trained.

The log is made of gaps and ages that stand at the edges of their buckets, where a device that rounds otherwise would
train on another event than a CPU serves.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import runs
from reference import gap_bucket

from pinfm.inference import load
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.cli.main import main

START, DAY, WEEK, USERS, ITEMS = 1_700_000_000, 86_400, 7 * 86_400, 40, 60
# The last and the first gap of buckets up to nine days.
GAPS = [2**k - d for k in range(3, 20) for d in (2, 1)]
PARITY = 1e-5


def made_log(folder):
    """Events, impressions and items; every user's gaps are of GAPS, every candidate's age at a bound or beside it."""
    draws = np.random.default_rng(0)
    events, shown = [], []
    for user in range(USERS):
        now = START
        for step in range(14):
            now += int(draws.choice(GAPS))
            item = int(draws.integers(ITEMS))
            events.append({"user_id": user, "timestamp": now, "action": "click", "surface": "home", "item_id": item})
            if step % 2:
                now += int(draws.choice(GAPS))
                for item in draws.choice(ITEMS, 4, replace=False).tolist():
                    request = {"request_id": 100 * user + step, "user_id": user, "timestamp": now, "surface": "home"}
                    shown.append({**request, "item_id": item, "click": item % 3 == 0, "price": float(item)})
    # Some user asks when the item is a week or four weeks old, to the second.
    asked = draws.choice([row["timestamp"] for row in shown], ITEMS)
    ages = draws.choice([WEEK - 1, WEEK, 4 * WEEK - 1, 4 * WEEK], ITEMS)
    items = pd.DataFrame({"item_id": range(ITEMS), "created_at": asked - ages})
    for name, table in (("events", events), ("shown", shown), ("items", items)):
        pd.DataFrame(table).to_csv(folder / f"{name}.csv", index=False)
    return events


@pytest.fixture
def road(tmp_path, device):
    """Takes the road and returns its folder."""
    config = replace(
        runs.CONFIG,
        device=device.type,
        tower=replace(runs.CONFIG.tower, request_time=True),
        ranker=replace(runs.CONFIG.ranker, history_counts=True),
        cold_start=replace(runs.CONFIG.cold_start, dropout_young=0.7, dropout_middle=0.5),
    )
    runs.write_config(config, tmp_path / "run.yaml")
    made_log(tmp_path)
    for command in (
        "prepare events {0}/events.csv --impressions {0}/shown.csv --items {0}/items.csv --actions [click] "
        "--tasks [click] --dense-features [price] --num-buckets 4 --out {0}/data",
        "pretrain --config {0}/run.yaml --data {0}/data --out {0}/tower",
        "finetune --config {0}/run.yaml --data {0}/data --out {0}/ranker --pretrained {0}/tower",
        "evaluate {0}/ranker --data {0}/data --device " + device.type + " --report {0}/evaluated.json",
        "export {0}/ranker --out {0}/model --report {0}/exported.json",
        "score {0}/model {0}/ranker/requests.parquet --out {0}/scores.parquet",
    ):
        assert main([word.format(tmp_path) for word in command.split()]) == 0, command
    return tmp_path


def test_what_a_device_trains_a_cpu_serves(road):
    exported = json.loads((road / "exported.json").read_text())
    assert exported["parity"]["max_abs_diff"] <= PARITY
    kept = pd.read_parquet(road / "ranker" / "requests.parquet")
    scores = pd.read_parquet(road / "scores.parquet")
    # What the training module gave on its device.
    expected = np.concatenate(kept["expected_click"].to_list())
    np.testing.assert_allclose(scores["click"], expected, rtol=0, atol=PARITY)
    assert len(scores) > 50
    assert scores["click"].nunique() > len(scores) / 2
    report = json.loads((road / "evaluated.json").read_text())
    assert report["metrics"]["model"]["click"]["by_age"]["7-28d"]["impressions"] > 0
    # The gate is worth something only if gaps at the edges of buckets were among what it compared.
    assert at_edges(kept) > 100
    assert load(road / "model").score(kept)["click"].equals(scores["click"])
    assert RunFolder.open(road / "ranker").manifest["config"]["device"] in ("cpu", "cuda")


def at_edges(requests):
    """Gaps between events that are the first or the last of their bucket."""
    gaps = [gap for times in requests["history_timestamp"] for gap in np.diff(times).tolist()]
    return sum(gap_bucket(gap - 1) < gap_bucket(gap) or gap_bucket(gap) < gap_bucket(gap + 1) for gap in gaps)
