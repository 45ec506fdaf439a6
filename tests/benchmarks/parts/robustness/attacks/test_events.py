"""Attacks on events: what they change, what they may not, and who put what where."""

import numpy as np
import pytest
import torch
from robustness_fakes import MAX_HISTORY, rows_of_request

from benchmarks.parts.robustness.attacks.events import (
    Deletion,
    Injection,
    Shuffling,
    Substitution,
    positive_pool,
    split,
    tamper,
)
from benchmarks.parts.robustness.victim import probabilities
from pinfm.inference.requests.columns import HISTORY
from pinfm.model.inputs import History

POSITIVE = (1, 2)
PROMOTED = [7, 11]
NAMES = ["substitution", "injection", "promotion", "deletion", "shuffling"]


@pytest.fixture
def pool(requests):
    return positive_pool(requests, POSITIVE)


@pytest.fixture
def promotion(requests, pool):
    items = {request_id: np.array(PROMOTED) for request_id in requests.request_id.tolist()}
    return Injection(count=3, pool=pool, max_history=MAX_HISTORY, items=items)


@pytest.fixture
def attack(request, pool, promotion):
    return {
        "substitution": Substitution(count=2, pool=pool),
        "injection": Injection(count=3, pool=pool, max_history=MAX_HISTORY),
        "promotion": promotion,
        "deletion": Deletion(count=2),
        "shuffling": Shuffling(),
    }[request.param]


def test_the_pool_holds_positive_events_alone(requests, pool):
    kept = [i for i, action in enumerate(requests.history.action.tolist()) if action in POSITIVE]
    assert 0 < len(kept) < len(requests.history.action)
    for name in HISTORY:
        assert pool.columns[name].tolist() == requests.inputs[f"history_{name}"][kept].tolist()


@pytest.mark.parametrize("attack", NAMES, indirect=True)
def test_histories_stay_such_as_the_module_takes(victim, requests, attack):
    attacked, planted = tamper(requests, attack)
    history, now = attacked.history, requests.inputs["request_timestamp"]
    assert len(planted) == len(history.item_id) == int(history.lengths.sum())
    for u in range(len(now)):
        times = history.timestamp[rows_of_request(attacked, u)]
        assert bool((times.diff() >= 0).all())
        assert bool((times < now[u]).all())
    # Which looks for the same and more.
    assert bool(probabilities(victim, attacked).isfinite().all())


@pytest.mark.parametrize("attack", NAMES, indirect=True)
def test_a_request_is_attacked_alone_as_among_others(requests, attack):
    attacked, planted = tamper(requests, attack, seed=5)
    alone, alone_planted = tamper(requests.take(torch.tensor([9])), attack, seed=5)
    rows = rows_of_request(attacked, 9)
    assert torch.equal(alone_planted, planted[rows])
    for mine, theirs in zip(alone.history[1:], attacked.history[1:], strict=True):
        assert torch.equal(mine, theirs[rows])
    other, _ = tamper(requests, attack, seed=6)
    assert not all(torch.equal(mine, theirs) for mine, theirs in zip(other.history, attacked.history, strict=True))


def test_substitution_changes_what_it_says_and_no_time(requests, pool):
    attacked, planted = tamper(requests, Substitution(count=2, pool=pool))
    before, after = requests.history, attacked.history
    assert torch.equal(after.lengths, before.lengths)
    assert torch.equal(after.timestamp, before.timestamp)
    for column in ("item_id", "action", "surface"):
        assert torch.equal(getattr(after, column)[~planted], getattr(before, column)[~planted])
    assert all(int(planted[rows_of_request(attacked, u)].sum()) == 2 for u in range(len(before.lengths)))
    assert set(after.item_id[planted].tolist()) <= set(pool.columns["item_id"].tolist())
    assert set(after.action[planted].tolist()) <= set(POSITIVE)
    whole, planted = tamper(requests, Substitution(count=1000, pool=pool))
    assert bool(planted.all())
    assert torch.equal(whole.history.lengths, before.lengths)


def test_injection_keeps_the_real_events_until_there_is_no_room(requests, pool):
    attacked, planted = tamper(requests, Injection(count=3, pool=pool, max_history=MAX_HISTORY))
    for u, (before, after) in enumerate(zip(split(requests), split(attacked), strict=True)):
        mine = planted[rows_of_request(attacked, u)].numpy()
        real = list(zip(*(after.columns[name][~mine].tolist() for name in HISTORY), strict=True))
        was = list(zip(*(before.columns[name].tolist() for name in HISTORY), strict=True))
        # The newest of them, in their order.
        assert real == was[len(was) - len(real) :]
        assert len(after) == min(len(before) + 3, MAX_HISTORY)
        assert after.columns["timestamp"].min() >= before.columns["timestamp"].min()
    roomy, planted = tamper(requests, Injection(count=3, pool=pool, max_history=1000))
    assert int(planted.sum()) == 3 * len(requests.request_id)
    assert torch.equal(roomy.history.lengths, requests.history.lengths + 3)


def test_there_is_room_for_an_event_in_the_second_before_the_request(requests, pool):
    just_now = (requests.inputs["request_timestamp"] - 1).repeat_interleave(requests.history.lengths)
    hasty = requests.with_history(requests.history._replace(timestamp=just_now))
    attacked, planted = tamper(hasty, Injection(count=3, pool=pool, max_history=1000))
    lengths = attacked.history.lengths
    assert torch.equal(attacked.history.timestamp, (hasty.inputs["request_timestamp"] - 1).repeat_interleave(lengths))
    assert int(planted.sum()) == 3 * len(lengths)


def test_a_promotion_injects_what_it_was_given(requests, promotion):
    attacked, planted = tamper(requests, promotion)
    assert set(attacked.history.item_id[planted].tolist()) == set(PROMOTED)


def test_events_can_be_injected_into_no_history(requests, pool):
    nothing = torch.zeros(0, dtype=torch.int64)
    empty = requests.with_history(History(torch.zeros_like(requests.history.lengths), *(4 * [nothing])))
    attacked, planted = tamper(empty, Injection(count=3, pool=pool, max_history=MAX_HISTORY))
    assert bool(planted.all())
    assert attacked.history.lengths.tolist() == [3] * len(requests.request_id)
    now = requests.inputs["request_timestamp"].repeat_interleave(3)
    assert bool((attacked.history.timestamp < now).all() and (attacked.history.timestamp >= now - 86_400).all())
    for attack in (Substitution(count=2, pool=pool), Deletion(count=2), Shuffling()):
        assert not len(tamper(empty, attack).planted)


def test_deletion_and_shuffling_plant_nothing(requests):
    deleted, planted = tamper(requests, Deletion(count=2))
    assert not bool(planted.any())
    assert torch.equal(deleted.history.lengths, (requests.history.lengths - 2).clamp(min=1))
    shuffled, planted = tamper(requests, Shuffling())
    assert not bool(planted.any())
    assert torch.equal(shuffled.history.timestamp, requests.history.timestamp)
    for u in range(len(requests.request_id)):
        rows = rows_of_request(requests, u)
        before, after = (
            sorted(zip(*(of[rows].tolist() for of in history[1:4]), strict=True))
            for history in (requests.history, shuffled.history)
        )
        assert before == after
