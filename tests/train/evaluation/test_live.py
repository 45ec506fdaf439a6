"""The live baselines equal a loop over every row before a request, and read nothing of its second or later."""

from dataclasses import replace

import loops
import numpy as np
import pandas as pd
import pytest

from pinfm.train.cli.main import main
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.live import RECENT, live_baselines
from pinfm.train.evaluation.popularity import PRIOR_IMPRESSIONS
from pinfm.train.evaluation.predictions import Predictions


def candidates_of(data, split):
    """Every candidate of a split, without scores."""
    requests = loops.requests_of(data, split)
    rows = [
        (request["user_id"], request["request_id"], request["timestamp"], item, created)
        for request in requests
        for item, created in zip(request["item_id"], request["created_at"], strict=True)
    ]
    user_id, request_id, timestamp, item_id, created_at = np.array(rows, dtype=np.int64).T
    tasks = data.info.schema.tasks
    labels = [[label for r in requests for label in r[f"label_{task}"]] for task in tasks]
    return Predictions(
        probabilities=np.zeros((len(rows), len(tasks)), dtype=np.float32),
        labels=np.array(labels, dtype=np.float32).T,
        item_id=item_id,
        user_id=user_id,
        request_id=request_id,
        timestamp=timestamp,
        age_seconds=(timestamp - created_at).astype(np.float64),
    )


def looped_rate(impressions, item, moment, task):
    """The smoothed rate of a task, from every impression before a moment."""
    before = [row for row in impressions if row["timestamp"] < moment]
    overall = (sum(row[task] for row in before) + 1) / (len(before) + 2)
    own = [row[task] for row in before if row["item_id"] == item]
    return (sum(own) + PRIOR_IMPRESSIONS * overall) / (len(own) + PRIOR_IMPRESSIONS)


def test_every_score_is_that_of_a_loop_over_the_log(dataset):
    data = PreparedDataset.open(dataset)
    tasks = data.info.schema.tasks
    impressions = [
        {"timestamp": r["timestamp"], "item_id": item, **{task: r[f"label_{task}"][i] for task in tasks}}
        for split in data.info.splits
        for r in loops.requests_of(data, split)
        for i, item in enumerate(r["item_id"])
    ]
    events = [event for of_user in loops.events_by_user(data).values() for event in of_user]
    asked = candidates_of(data, "test")
    scores = live_baselines(data, asked)
    rates, (name, counts) = scores["live_popularity"].probabilities, list(scores.items())[1]
    window = RECENT[name]
    assert len(asked.item_id) > 100
    for n in range(0, len(asked.item_id), 3):
        item, moment = asked.item_id[n], asked.timestamp[n]
        for i, task in enumerate(tasks):
            assert rates[n, i] == pytest.approx(looped_rate(impressions, item, moment, task), abs=1e-12)
            code = data.info.schema.actions.index(task) + 1
            seen = [e for e in events if e["item_id"] == item and e["action"] == code and e["timestamp"] < moment]
            recent = [e for e in seen if window is None or e["timestamp"] >= moment - window]
            assert counts.probabilities[n, i] == len(recent)
    youngest = scores["freshest"].probabilities
    np.testing.assert_array_equal(youngest, np.repeat(-asked.age_seconds[:, None], len(tasks), axis=1))


# Three requests in one second, with an event in the same one, and a request an hour later to the second.
START = 1_750_000_000
SHOWN = [  # request, user, seconds, item, click
    (1, 1, 0, 10, 1),
    (1, 1, 0, 11, 0),
    (2, 2, 100, 10, 1),
    (2, 2, 100, 11, 0),
    (3, 3, 100, 10, 0),
    (3, 3, 100, 11, 1),
    (4, 1, 3700, 10, 0),
    (4, 1, 3700, 11, 0),
]
CLICKED = [(1, 0, 10), (2, 100, 10), (3, 100, 11), (1, 99, 11)]  # user, seconds, item


@pytest.fixture
def hours(tmp_path):
    """A log of a few seconds, of which every request is in the test split but the first."""
    shown = pd.DataFrame(SHOWN, columns=["request_id", "user_id", "timestamp", "item_id", "click"])
    clicked = pd.DataFrame(CLICKED, columns=["user_id", "timestamp", "item_id"]).assign(action="click")
    for name, table in (("shown", shown), ("log", clicked)):
        table.assign(timestamp=table["timestamp"] + START, surface="home").to_parquet(tmp_path / f"{name}.parquet")
    words = ["prepare", "events", tmp_path / "log.parquet", "--impressions", tmp_path / "shown.parquet"]
    flags = ["--actions", "click", "--tasks", "click", "--num-buckets", "2", "--out", tmp_path / "hours"]
    assert main([str(word) for word in [*words, *flags]]) == 0
    return PreparedDataset.open(tmp_path / "hours")


def asked_of(hours):
    parts = [candidates_of(hours, split) for split in hours.info.splits if loops.requests_of(hours, split)]
    request = np.concatenate([part.request_id for part in parts])
    order = np.lexsort((np.concatenate([part.item_id for part in parts]), request))
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("probabilities", "labels", "item_id", "user_id", "request_id", "timestamp", "age_seconds")
    }
    return Predictions(**columns)


def test_nothing_of_a_requests_own_second_is_known(hours):
    scores = live_baselines(hours, asked_of(hours))
    # Of requests 1, 2, 3 and 4, items 10 and 11 each. The two requests of second 100 do not know of each other.
    prior, overall = PRIOR_IMPRESSIONS, np.array([1 / 2, 2 / 4, 2 / 4, 4 / 8])
    clicks, shown = np.array([[0, 0], [1, 0], [1, 0], [2, 1]]), np.array([[0, 0], [1, 1], [1, 1], [3, 3]])
    expected = (clicks + prior * overall[:, None]) / (shown + prior)
    np.testing.assert_allclose(scores["live_popularity"].probabilities[:, 0], expected.ravel(), rtol=1e-12)
    # Request 4 comes an hour after second 100 to the second, which still counts; second 99 and second 0 do not.
    counted = scores["last_hour"].probabilities[:, 0]
    np.testing.assert_array_equal(counted, [0, 0, 1, 1, 1, 1, 1, 1])
    assert not scores["last_hour"].are_probabilities


def test_the_window_is_the_shortest_in_which_half_of_the_candidates_had_an_event(hours):
    asked = asked_of(hours)
    weeks = replace(asked, timestamp=asked.timestamp + 6 * 86_400)
    assert list(live_baselines(hours, weeks))[1] == "last_week"
    assert list(live_baselines(hours, replace(asked, timestamp=asked.timestamp + 86_000)))[1] == "last_day"
    assert list(live_baselines(hours, replace(asked, timestamp=asked.timestamp + 10**8)))[1] == "events_so_far"
    never = replace(asked, item_id=asked.item_id + 1000)
    assert list(live_baselines(hours, never))[1] == "events_so_far"


def test_what_was_sampled_was_not_shown_and_has_no_rate(hours):
    sampled = PreparedDataset(hours.path, replace(hours.info, candidates="sampled"))
    assert list(live_baselines(sampled, asked_of(hours))) == ["last_hour", "freshest"]
