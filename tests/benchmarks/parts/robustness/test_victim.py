"""A model behind a defence, beside the same weights without it."""

import torch

from benchmarks.parts.robustness.rows import vectors
from benchmarks.parts.robustness.victim import defended, event_vectors, probabilities, trust
from pinfm.model.adaptation.config import TrustConfig
from pinfm.model.adaptation.vectors import VectorAdaptation


def test_trust_drops_events_below_the_threshold_alone(victim, requests, reference):
    nothing_dropped = defended(victim, TrustConfig(threshold=0.0), reference)
    assert torch.equal(probabilities(nothing_dropped, requests), probabilities(victim, requests))
    trust_T = trust(nothing_dropped, requests)
    assert trust_T.shape == requests.history.item_id.shape
    some_dropped = defended(victim, TrustConfig(threshold=float(trust_T.median())), reference)
    assert not torch.equal(probabilities(some_dropped, requests), probabilities(victim, requests))


def test_adapted_vectors_are_those_of_the_served_adaptation(victim, requests, reference):
    config = vectors("next_token", "multi_token", radius=0.5)
    behind = defended(victim, config, reference)
    adapted_TE = VectorAdaptation(victim.model.encoder, reference, config)(
        requests.history, event_vectors(victim, requests)
    )
    expected_NK = probabilities(victim, requests, lambda item_TE: adapted_TE)
    torch.testing.assert_close(probabilities(behind, requests), expected_NK, rtol=1e-4, atol=1e-6)
    assert not torch.equal(expected_NK, probabilities(victim, requests))


def test_a_defence_leaves_the_model_as_it_was(victim, requests, reference):
    before_NK, model = probabilities(victim, requests), victim.model
    defended(victim, TrustConfig(threshold=0.9), reference)
    assert victim.model is model
    assert torch.equal(probabilities(victim, requests), before_NK)
