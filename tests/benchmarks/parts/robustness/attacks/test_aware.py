"""Who knows the defence does more harm to it, and is measured on the same requests as who does not."""

import pytest

from benchmarks.parts.robustness.attacks.aware import aware_figures, known
from benchmarks.parts.robustness.attacks.vectors import VectorAttack
from benchmarks.parts.robustness.rows import vectors
from benchmarks.parts.robustness.victim import defended, probabilities, ranking_losses
from pinfm.train.metrics import auc

ATTACK = VectorAttack(radius=1.0, steps=8)


@pytest.fixture
def config():
    return vectors("next_token", "multi_token", radius=1.0, steps=2)


def losses_behind(module, requests, change_TE):
    p_NK = probabilities(module, requests, lambda item_TE: item_TE + change_TE)
    return float(ranking_losses(p_NK, requests, 0).sum())


def test_knowing_the_defence_does_more_harm(victim, requests, reference, config):
    behind = defended(victim, config, reference)
    blind_TE = ATTACK(victim, requests)
    knows_TE = ATTACK(victim, requests, known(victim, reference, config))
    assert losses_behind(behind, requests, knows_TE) > losses_behind(behind, requests, blind_TE)


def test_figures_are_of_the_same_requests(victim, requests, reference, config):
    behind = defended(victim, config, reference)
    found = aware_figures(victim, behind, known(victim, reference, config), requests, ATTACK)
    clean = auc(probabilities(behind, requests)[:, 0], requests.labels[:, 0] > 0.5)
    assert found["aware_clean"] == pytest.approx(clean)
    assert found["aware_blind"] < found["aware_clean"]
    undefended = aware_figures(victim, victim, None, requests, ATTACK)
    assert undefended["aware_knows"] == undefended["aware_blind"]
