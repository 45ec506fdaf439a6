"""A log fed to LiveCounts as it happened gives every request the counters that `prepare` gave it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from runs import CONFIG

from pinfm.inference import LiveCounts, load
from pinfm.inference.export import export
from pinfm.model.live_counts import IMPRESSION, LABEL
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.prepare import prepare
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place

START = 1_700_000_000


def requests_of(dataset):
    """All requests of all splits in order of time, with their ids as the log writes them."""
    tables = [
        dataset.requests(split, bucket).to_pandas() for split in SPLITS for bucket in range(dataset.info.num_buckets)
    ]
    frame = pd.concat(tables, ignore_index=True).sort_values("timestamp", kind="stable", ignore_index=True)
    lengths = frame["item_id"].map(len).to_numpy()
    items = dataset.as_logged("item_id", np.concatenate(frame["item_id"].to_list()))
    return frame.assign(
        user_id=dataset.as_logged("user_id", frame["user_id"].to_numpy()),
        candidate_item_id=np.split(items, lengths.cumsum()[:-1]),
        request_timestamp=frame["timestamp"],
    )


def replay(dataset, marks, requests, batch):
    """Fills the requests as a host would: what had happened by each, and a little of what comes."""
    schema = dataset.info.schema
    counts = LiveCounts(schema.live_counts, ids=schema.ids)
    marks = marks.sort_values("timestamp", kind="stable", ignore_index=True)
    fed, filled = 0, []
    for start in range(0, len(requests), batch):
        part = requests[start : start + batch]
        newest = part["request_timestamp"].iloc[-1]
        until = int(marks["timestamp"].searchsorted(newest + 10))
        counts.add(marks[fed:until])
        fed = until
        filled.append(counts.fill(part))
    assert (counts.stats()["late"], counts.stats()["behind"]) == (0, 0)
    return pd.concat(filled)


def assert_prepared(dataset, filled, requests):
    """Every counter of every candidate, to the last digit; and few of them are always 0."""
    names, counted = dataset.info.schema.live_counts.names(), 0
    for name in names:
        found, expected = (np.concatenate(frame[name].to_list()) for frame in (filled, requests))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected.astype(np.float32), err_msg=name)
        counted += expected.any()
    assert counted > 0.9 * len(names)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "dataset"
    source = Simulate(num_users=60, num_items=40, num_days=6, requests_per_user=5)
    prepare(source, folder, PrepareOptions(live_counts=["item", "topic", "user.topic"], num_buckets=4))
    return PreparedDataset.open(folder)


@pytest.fixture(scope="module")
def simulated_marks(simulated):
    """Of the dataset's own files: events with their actions, candidates that were shown, and their labels."""
    kinds = simulated.info.schema.live_counts.kinds
    labels = [kind for kind in kinds if kind.startswith(LABEL)]
    assert labels
    events = pd.concat(simulated.events(bucket).to_pandas() for bucket in range(simulated.info.num_buckets))
    topics = simulated.items().to_pandas().set_index("item_id")["topic"]
    names = np.array(["", *simulated.info.schema.actions], dtype=object)
    events = events.assign(kind=names[events["action"]], topic=topics.loc[events["item_id"]].to_numpy())
    shown = requests_of(simulated)[["timestamp", "user_id", "item_id", "topic", *labels]]
    shown = shown.explode(["item_id", "topic", *labels])
    of_labels = [shown[shown[label].astype(bool)].assign(kind=label) for label in labels]
    marks = pd.concat([events[events["kind"].isin(kinds)], shown.assign(kind=IMPRESSION), *of_labels])
    return marks[["timestamp", "user_id", "item_id", "topic", "kind"]]


@pytest.mark.parametrize("batch", [1, 50])
def test_a_simulated_stream(simulated, simulated_marks, batch):
    requests = requests_of(simulated)
    assert_prepared(simulated, replay(simulated, simulated_marks, requests, batch), requests)


def test_a_model_scores_by_the_counters_of_a_host(simulated, simulated_marks, tmp_path):
    """From a dataset's requests to the scores that the run gave, the counters left out and filled in again."""
    finetune(replace(CONFIG, use_tower=False), Place(data=simulated.path, out=tmp_path / "run"))
    export(tmp_path / "run", tmp_path / "model")
    scorer, counts = load(tmp_path / "model"), LiveCounts.of(tmp_path / "model")
    assert scorer.signature.live_counts == counts.spec == simulated.info.schema.live_counts
    kept = pd.read_parquet(tmp_path / "run" / "requests.parquet")
    bare = kept.drop(columns=list(counts.names)).sort_values("request_timestamp")
    assert len(bare) > 20
    counts.add(simulated_marks)
    filled = counts.fill(bare)
    for name in counts.names:
        found, expected = (np.concatenate(frame[name].to_list()) for frame in (filled, kept.loc[bare.index]))
        np.testing.assert_array_equal(found, expected, err_msg=name)
    scores = scorer.score(filled)
    for task in scorer.tasks:
        expected = np.concatenate(kept.loc[bare.index, f"expected_{task}"].to_list())
        np.testing.assert_allclose(scores[task], expected, rtol=0, atol=1e-5)
        changed = scorer.score(filled.assign(item_click_all=[1000 + cell for cell in filled["item_click_all"]]))
        assert not np.allclose(changed[task], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ids", ["int64", "text"])
def test_ones_own_log(tmp_path, ids):
    """Raw files with labels, an attribute that some items lack, and requests whose rows are seconds apart."""
    rng = np.random.default_rng(7)
    id_of = str if ids == "int64" else lambda number: f"B{number:03}x"
    times = START + rng.integers(0, 5 * 86400, 3000)
    events = pd.DataFrame(
        {
            "user_id": [id_of(user) for user in rng.integers(1, 9, 3000)],
            "item_id": [id_of(item) for item in rng.integers(1, 31, 3000)],
            "timestamp": times,
            "action": rng.choice(["click", "add to cart"], 3000),
        }
    )
    request = rng.integers(0, 400, 1500)
    shown = pd.DataFrame(
        {
            "request_id": request,
            "user_id": [id_of(1 + user % 8) for user in request],
            "item_id": [id_of(item) for item in rng.integers(1, 31, 1500)],
            "timestamp": START + request * 1080 + rng.integers(0, 4, 1500),
            "click": rng.random(1500) < 0.3,
            "buy": rng.random(1500) < 0.1,
        }
    ).drop_duplicates(["request_id", "item_id"])
    items = pd.DataFrame(
        {"item_id": [id_of(item) for item in range(1, 31)], "shop": np.arange(30) % 7, "created_at": 10}
    )
    for name, table in {"events": events, "shown": shown, "items": items}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    source = Events(
        path=tmp_path / "events.csv",
        impressions=tmp_path / "shown.csv",
        items=tmp_path / "items.csv",
        actions=["click", "add to cart"],
        tasks=["click", "buy"],
        item_attributes=["shop"],
    )
    options = PrepareOptions(
        live_counts=["shop", "item", "user.shop"],
        live_counts_windows=["30min", "1d", "all"],
        live_counts_label_delay_minutes=45,
        num_buckets=2,
    )
    prepare(source, tmp_path / "dataset", options)
    dataset = PreparedDataset.open(tmp_path / "dataset")
    requests = requests_of(dataset)
    assert dataset.info.schema.live_counts.kinds == ("impression", "click", "add to cart", "label_buy")
    parts = [events.rename(columns={"action": "kind"}), shown.assign(kind="impression")]
    parts.append(shown[shown["buy"]].assign(kind="label_buy"))
    marks = pd.concat(parts, ignore_index=True).merge(items, on="item_id")
    if ids == "int64":
        marks = marks.astype({"user_id": "int64", "item_id": "int64"})
    assert_prepared(dataset, replay(dataset, marks, requests, 20), requests)
    assert sum(map(len, requests["candidate_item_id"])) == len(shown)
