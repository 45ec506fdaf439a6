"""Figures of an attack against plain ones."""

import pytest
import torch
from robustness_fakes import rows_of_request

from benchmarks.parts.robustness.attacks.events import Substitution, positive_pool
from benchmarks.parts.robustness.measure import Attacked, after, distrusted, measured, scores, untouched
from benchmarks.parts.robustness.requests import with_drawn_candidates
from benchmarks.parts.robustness.victim import probabilities
from pinfm.train.metrics import auc


@pytest.fixture
def lists(requests):
    return with_drawn_candidates(requests.take(torch.arange(6)), requests, 15, seed=0)


@pytest.fixture
def attacked(requests):
    return after(requests, Substitution(count=4, pool=positive_pool(requests, (1, 2))), seed=0)


def test_scores_in_batches_are_scores(monkeypatch, victim, requests, lists):
    monkeypatch.setattr("benchmarks.parts.robustness.measure.BATCH", 3)
    change_TE = 0.1 * torch.randn(len(requests.history.item_id), victim.item_tables.dim)
    pushed = Attacked(requests=requests, planted=untouched(requests).planted, change=change_TE)
    expected = probabilities(victim, requests, lambda item_TE: item_TE + change_TE)
    torch.testing.assert_close(scores(victim, pushed), expected)
    mine_TE = change_TE[: rows_of_request(requests, 5).stop]
    expected = probabilities(victim, lists, lambda item_TE: item_TE + mine_TE)
    torch.testing.assert_close(scores(victim, pushed, lists), expected)


def test_nothing_changes_where_nobody_attacks(victim, requests, lists):
    clean = untouched(requests)
    clean_N = scores(victim, clean, lists)[:, 0]
    found = measured(victim, clean, lists, clean_N)
    assert found["overlap"] == found["rbo"] == pytest.approx(1.0)
    assert found["climb"] == 0.0
    assert found["auc"] == auc(probabilities(victim, requests)[:, 0], requests.labels[:, 0] > 0.5)


def test_lists_are_compared_with_those_before_the_attack(victim, requests, lists, attacked):
    # The tiny model hardly reads histories, so what it said before is made up.
    clean_N = torch.rand(6 * 15)
    found = measured(victim, attacked, lists, clean_N)
    after_N = probabilities(victim, lists.with_history(attacked.requests.take(torch.arange(6)).history))[:, 0]
    shared, climbed = [], []
    for u in range(6):
        before, now = (of[15 * u : 15 * (u + 1)].tolist() for of in (clean_N, after_N))
        tops = [{i for i in range(15) if sum(s > of[i] for s in of) < 10} for of in (before, now)]
        shared.append(len(tops[0] & tops[1]) / 10)
        climbed.append(sum(s > before[0] for s in before) - sum(s > now[0] for s in now))
    assert found["overlap"] == pytest.approx(sum(shared) / 6)
    assert found["climb"] == pytest.approx(sum(climbed) / 6)
    assert 0 < found["rbo"] < 1


def test_detection_is_the_auc_of_distrust(attacked):
    def perfect(batch):
        rows = dict(zip(keys(attacked.requests), attacked.planted, strict=True))
        return torch.tensor([0.0 if rows[key] else 0.5 for key in keys(batch)])

    def keys(batch):
        owners = batch.request_id.repeat_interleave(batch.history.lengths).tolist()
        places = [i for length in batch.history.lengths.tolist() for i in range(length)]
        return list(zip(owners, places, strict=True))

    found = distrusted(perfect, 0.3, attacked)
    assert found == {"dropped": 0.0, "found": 1.0, "detection": 1.0, "detection_own": 1.0}
    nothing = distrusted(lambda batch: torch.ones(len(batch.history.item_id)), 0.3, attacked)
    assert nothing == {"dropped": 0.0, "found": 0.0, "detection": 0.5, "detection_own": 0.5}


def test_where_nothing_is_planted_nothing_can_be_found(requests):
    half = torch.arange(len(requests.history.item_id)) % 2
    assert distrusted(lambda batch: half[: len(batch.history.item_id)], 0.5, untouched(requests)) == {
        "dropped": pytest.approx(float((half == 0).double().mean()))
    }
