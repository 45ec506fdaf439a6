"""Attacks on event vectors stay in their ball, do harm, and do not depend on the batch."""

import pytest
import torch
from robustness_fakes import rows_of_request

from benchmarks.parts.robustness.attacks.vectors import VectorAttack
from benchmarks.parts.robustness.victim import event_vectors, probabilities, ranking_losses
from pinfm.inference.artifact import load
from pinfm.train.metrics import auc


def test_what_is_attacked_is_what_is_exported(victim, exported, requests):
    scores = load(exported).module(dict(requests.inputs))
    told_NK = torch.stack([scores[task] for task in victim.tasks], dim=1)
    torch.testing.assert_close(probabilities(victim, requests), told_NK, rtol=1e-5, atol=1e-6)


def test_an_identity_changes_nothing_and_a_hook_does_not_stay(victim, requests):
    clean_NK = probabilities(victim, requests)
    assert torch.equal(probabilities(victim, requests, lambda item_TE: item_TE), clean_NK)
    assert not torch.equal(probabilities(victim, requests, lambda item_TE: item_TE + 1), clean_NK)
    assert torch.equal(probabilities(victim, requests), clean_NK)


def test_losses_are_those_of_each_request(victim, requests):
    p_NK = probabilities(victim, requests)
    losses_U = ranking_losses(p_NK, requests, 0)
    by_hand = torch.zeros(len(losses_U))
    for n, u in enumerate(requests.owner_N.tolist()):
        by_hand[u] -= (p_NK[n, 0] if requests.labels[n, 0] else 1 - p_NK[n, 0]).log()
    torch.testing.assert_close(losses_U, by_hand)


@pytest.mark.parametrize("radius", [0.05, 0.5])
def test_an_attack_stays_in_its_ball_and_reaches_its_wall(victim, requests, radius):
    change_TE = VectorAttack(radius=radius, steps=6)(victim, requests)
    item_TE = event_vectors(victim, requests)
    for u in range(len(requests.request_id)):
        rows = rows_of_request(requests, u)
        limit = radius * float(item_TE[rows].square().mean().sqrt())
        assert float(change_TE[rows].abs().max()) == pytest.approx(limit)


def test_an_attack_raises_the_loss_and_lowers_the_auc_more_with_more_room(sensitive, requests):
    losses, areas = [], []
    for radius in (0.0, 0.5, 2.0):
        change_TE = VectorAttack(radius=radius)(sensitive, requests)
        p_NK = probabilities(sensitive, requests, lambda item_TE, change_TE=change_TE: item_TE + change_TE)
        losses.append(float(ranking_losses(p_NK, requests, 0).sum()))
        areas.append(auc(p_NK[:, 0], requests.labels[:, 0] > 0.5))
    assert losses[0] < losses[1] < losses[2]
    assert areas[0] > areas[1] > areas[2]


def test_an_attack_is_better_than_noise(sensitive, requests):
    attacked, noise = (VectorAttack(radius=1.0, steps=steps)(sensitive, requests) for steps in (20, 0))
    losses = [
        float(ranking_losses(probabilities(sensitive, requests, lambda x, c=change: x + c), requests, 0).sum())
        for change in (attacked, noise)
    ]
    assert losses[0] > losses[1] + 0.01


def test_a_request_is_attacked_alone_as_among_others(victim, requests):
    whole_TE = VectorAttack(radius=0.3, steps=4)(victim, requests)
    alone_TE = VectorAttack(radius=0.3, steps=4)(victim, requests.take(torch.tensor([9])))
    torch.testing.assert_close(alone_TE, whole_TE[rows_of_request(requests, 9)])


def test_a_defence_is_attacked_through_its_gradient(victim, requests):
    """Behind one that hides all events the attacker's gradient is zero, so nothing moves from its start."""
    attack = VectorAttack(radius=0.3, steps=3)
    behind_TE = attack(victim, requests, lambda history, item_TE: item_TE * 0)
    assert torch.equal(behind_TE, VectorAttack(radius=0.3, steps=0)(victim, requests))
    through_TE = attack(victim, requests, lambda history, item_TE: item_TE)
    assert torch.equal(through_TE, attack(victim, requests))
