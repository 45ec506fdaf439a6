"""What a tower may know of the target's time."""

import numpy as np
import pytest
import torch
from model_fakes import ITEM_DIM, NUM_ITEMS, config, roughen, schema

from pinfm.model.encoder import build_encoder
from pinfm.model.tower import SequenceTower
from pinfm.train.evaluation.queries import Queries
from pinfm.train.evaluation.retrieval import rank_catalogue
from pinfm.train.evaluation.retrieval_baselines import RecentPopularity, window_of

USERS, EVENTS = 40, 6


def ranks(tower, target_gap, tell_time):
    """HR@k for all k of users whose target comes so many seconds after the event before."""
    random = np.random.default_rng(0)
    # No item twice: those of the history are no answers.
    items = np.concatenate([random.permutation(NUM_ITEMS)[:EVENTS] for _ in range(USERS)])
    times = np.tile(np.cumsum([10**9, *[60] * (EVENTS - 2), target_gap]), USERS)
    ones = np.ones(USERS * EVENTS, dtype=np.int64)
    events = {"item_id": items, "action": ones, "surface": ones, "timestamp": times, "user_id": ones}
    first = np.arange(USERS) * EVENTS
    queries = [Queries(events, first, first + EVENTS - 1)]
    return rank_catalogue(tower, np.arange(NUM_ITEMS), queries, EVENTS, range(1, NUM_ITEMS), tell_time)


@pytest.mark.parametrize(("request_time", "tell_time"), [(True, True), (True, False), (False, True)])
def test_only_a_tower_that_is_told_depends_on_the_targets_time(request_time, tell_time):
    torch.manual_seed(0)
    encoder = roughen(build_encoder(config(request_time=request_time), schema(), ITEM_DIM))
    tower = SequenceTower(torch.nn.Embedding(NUM_ITEMS, ITEM_DIM), encoder)
    soon, late = (ranks(tower, gap, tell_time) for gap in (1, 10**6))
    assert (soon != late) == (request_time and tell_time)


def test_recent_popularity_is_counted_strictly_before_each_target():
    random = np.random.default_rng(1)
    time = np.sort(random.integers(0, 50, 300))
    item = random.integers(0, 7, 300)
    moments = random.integers(-5, 60, 40)
    events = {"timestamp": moments}
    queries = Queries(events, np.zeros(40, dtype=np.int64), np.arange(40))
    for seconds in (1, 10, None):
        counted = RecentPopularity(time, item, 7, seconds)(queries).numpy()
        for moment, row in zip(moments, counted, strict=True):
            inside = (time < moment) & (time >= (moment - seconds if seconds else -1))
            np.testing.assert_array_equal(row, np.bincount(item[inside], minlength=7))


def test_the_window_of_recent_popularity_goes_by_the_pace_of_training():
    hour, day = 3600, 86_400
    assert window_of(np.arange(0, 30 * day, 3)) == "last_hour"  # 1,200 an hour
    assert window_of(np.arange(0, 30 * day, 60)) == "last_day"  # 1,440 a day
    assert window_of(np.arange(0, 30 * day, hour)) == "events_so_far"  # 168 a week
    assert window_of(np.arange(0, hour // 2)) == "events_so_far"  # of half an hour, an hour is everything
    assert window_of(np.zeros(0, dtype=np.int64)) == "events_so_far"
