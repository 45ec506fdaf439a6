"""Substitution by gradient: against loops over places and items, and against chance."""

import pytest
import torch
from robustness_fakes import rows_of_request

from benchmarks.parts.robustness.attacks.events import Substitution, positive_pool, tamper
from benchmarks.parts.robustness.attacks.hot_flip import HotFlip, most_popular
from benchmarks.parts.robustness.victim import probabilities, ranking_losses


@pytest.fixture
def pool(requests):
    return positive_pool(requests, (1, 2))


def loss_of(victim, requests):
    return float(ranking_losses(probabilities(victim, requests), requests, 0).sum())


def test_the_worst_item_at_the_worst_places(victim, requests, pool):
    item_C = most_popular(pool, 5)
    attacked, planted_T = HotFlip(count=2, item_id=item_C)(victim, requests)
    vectors = {item: victim.item_vectors(torch.tensor([item]))[0] for item in [*item_C.tolist()]}
    for u in range(len(requests.request_id)):
        request = requests.take(torch.tensor([u]))
        item_LE = victim.item_vectors(request.history.item_id).requires_grad_()
        loss = ranking_losses(probabilities(victim, request, lambda _, own=item_LE: own), request, 0).sum()
        (grad_LE,) = torch.autograd.grad(loss, item_LE)
        gains = [
            [float(grad_LE[i] @ (vector - item_LE[i].detach())) for vector in vectors.values()]
            for i in range(len(item_LE))
        ]
        worst = sorted(range(len(gains)), key=lambda i: -max(gains[i]))[:2]
        rows = rows_of_request(requests, u)
        assert sorted(worst) == planted_T[rows].nonzero()[:, 0].tolist()
        for i in worst:
            assert attacked.history.item_id[rows][i] == item_C[gains[i].index(max(gains[i]))]
        kept = ~planted_T[rows]
        assert torch.equal(attacked.history.item_id[rows][kept], requests.history.item_id[rows][kept])
    for mine, theirs in zip(attacked.history[2:], requests.history[2:], strict=True):
        assert torch.equal(mine, theirs)


def test_a_gradient_does_more_harm_than_chance(victim, requests, pool):
    flipped, _ = HotFlip(count=3, item_id=most_popular(pool, 50))(victim, requests)
    by_chance = [
        loss_of(victim, tamper(requests, Substitution(count=3, pool=pool), seed).requests) for seed in range(5)
    ]
    assert loss_of(victim, flipped) > max(by_chance)


def test_a_request_is_attacked_alone_as_among_others(victim, requests, pool):
    attack = HotFlip(count=2, item_id=most_popular(pool, 20))
    alone, planted = attack(victim, requests.take(torch.tensor([9])))
    whole, whole_planted = attack(victim, requests)
    rows = rows_of_request(requests, 9)
    assert torch.equal(alone.history.item_id, whole.history.item_id[rows])
    assert torch.equal(planted, whole_planted[rows])


def test_popular_items_come_first(pool):
    counts = dict.fromkeys(pool.columns["item_id"].tolist(), 0)
    for item in pool.columns["item_id"].tolist():
        counts[item] += 1
    found = [counts[item] for item in most_popular(pool, 10_000).tolist()]
    assert found == sorted(counts.values(), reverse=True)
    assert len(most_popular(pool, 3)) == 3


def test_who_knows_the_trust_weights_puts_in_what_they_believe(victim, requests, pool):
    item_C = most_popular(pool, 40)
    attack = HotFlip(count=2, item_id=item_C)
    doubted = item_C[::2]
    blind, planted = attack(victim, requests)
    assert bool(torch.isin(blind.history.item_id[planted], doubted).any())
    evading, planted = attack(victim, requests, lambda tampered: ~torch.isin(tampered.history.item_id, doubted))
    assert not bool(torch.isin(evading.history.item_id[planted], doubted).any())
    assert loss_of(victim, evading) > loss_of(victim, requests)
    believed, _ = attack(victim, requests, lambda tampered: torch.ones_like(tampered.history.item_id, dtype=torch.bool))
    assert torch.equal(believed.history.item_id, blind.history.item_id)
