"""The plain adaptation against loops over one history at a time, and what its name promises."""

import math

import model_fakes as fakes
import pytest
import torch

from benchmarks.parts.robustness.attacks import plain_adaptation as plain
from pinfm.model.adaptation.config import LOSSES, VectorAdaptationConfig
from pinfm.model.adaptation.reference import make_reference
from pinfm.model.adaptation.vectors import VectorAdaptation

LENGTHS = (9, 0, 1, 4, 3, 12)
POSITIVE = (1, 2)
CONFIG = VectorAdaptationConfig(window=3, newest_events=7, masked_event_weight=1.0, contrastive_weight=1.0)


@pytest.fixture
def tower():
    """A tower in double precision, histories, their vectors, and what they are held against."""
    item_VE = torch.randn(fakes.NUM_ITEMS, fakes.ITEM_DIM, dtype=torch.float64)
    encoder = fakes.joint_model(request_time=True).encoder.double()
    with torch.no_grad():
        encoder.log_temperature.fill_(math.log(0.3))
    requests = fakes.collate(fakes.random_requests(LENGTHS, [1] * len(LENGTHS), item_VE))
    others = fakes.collate(fakes.random_requests([8, 5], [1, 1], item_VE))
    reference = make_reference(encoder, others.history, others.item_TE, POSITIVE, num_items=8, num_states=5)
    return encoder, requests.history, requests.item_TE, reference


def one_history(history, item_TE, u):
    rows = slice(int(history.lengths[:u].sum()), int(history.lengths[: u + 1].sum()))
    return type(history)(history.lengths[u : u + 1], *(field[rows] for field in history[1:])), item_TE[rows]


def softplus(x):
    return math.log1p(math.exp(x))


def losses_by_loops(encoder, history, item_TE, reference):
    """Of one history: every pair by itself."""
    length = len(item_TE)
    z, t = encoder.psi(item_TE), float(encoder.temperature())
    positive = [int(action) in POSITIVE for action in history.action]
    liked = {int(item) for item, kept in zip(history.item_id, positive, strict=True) if kept}

    def pair(state, j):
        others = [
            math.exp(float(state @ reference.z[k]) / t + float(reference.log_weight[k]))
            for k in range(len(reference.item_id))
            if int(reference.item_id[k]) not in liked
        ]
        return softplus(math.log(sum(others)) - float(state @ z[j]) / t) if others else 0.0

    def mean(pairs, states):
        found = [
            pair(states[i], j) for i, j in pairs if i >= length - CONFIG.newest_events and j < length and positive[j]
        ]
        return sum(found) / len(found) if found else 0.0

    states = plain.states_of(encoder, history, item_TE)
    hidden = [i for i in range(length) if (length - i) % 4 == 0]
    masked = item_TE.clone()
    masked[hidden] = 0.0
    return {
        "next_token": mean([(i, i + 1) for i in range(length)], states),
        "multi_token": mean([(i, i + a) for i in range(length) for a in (1, 2, 3)], states),
        "future_token": mean([(length - 4, length - 4 + a) for a in (1, 2, 3)] if length > 3 else [], states),
        "masked_event": mean([(i, i) for i in hidden], plain.undated_states_of(encoder, history, masked)),
        "contrastive": contrastive_by_loops(encoder, history, item_TE, reference) if length > 3 else 0.0,
    }


def contrastive_by_loops(encoder, history, item_TE, reference):
    length, ends = len(item_TE), []
    for first in ((length - 1) % 2, length % 2):
        rows = slice(first, None, 2)
        view = type(history)(torch.tensor([len(item_TE[rows])]), *(field[rows] for field in history[1:]))
        ends.append(plain.undated_states_of(encoder, view, item_TE[rows])[-1])
    sides = [
        softplus(
            math.log(sum(math.exp(float(end @ state) / 0.2) for state in reference.states))
            - float(ends[0] @ ends[1]) / 0.2
        )
        for end in ends
    ]
    return sum(sides) / 2


@torch.no_grad()
def test_losses_equal_loops_over_pairs(tower):
    encoder, history, item_TE, reference = tower
    found = plain.losses(encoder, history, item_TE, reference, CONFIG)
    assert set(found) == set(LOSSES)
    for u in range(len(LENGTHS)):
        expected = losses_by_loops(encoder, *one_history(history, item_TE, u), reference)
        for name in LOSSES:
            # Log counts of the reference are kept in float32.
            assert float(found[name][u]) == pytest.approx(expected[name], rel=1e-6, abs=1e-9), (name, u)
    assert all(bool((loss_U > 0).any()) for loss_U in found.values())


def test_adapting_lowers_each_loss_within_the_radius(tower):
    encoder, history, item_TE, reference = tower
    limit_T1 = plain.root_mean_squares(history, item_TE)[plain.owners(history)][:, None]
    for name in LOSSES:
        weights = {f"{other}_weight": float(other == name) for other in LOSSES}
        config = VectorAdaptationConfig(window=3, newest_events=7, steps=4, step_size=0.02, radius=0.05, **weights)
        adapted_TE = plain.adapt(encoder, history, item_TE, reference, config)
        before, after = (plain.total(encoder, history, x_TE, reference, config) for x_TE in (item_TE, adapted_TE))
        assert after < before, name
        change_TE = (adapted_TE - item_TE).abs()
        assert bool((change_TE <= 0.05 * limit_T1 * (1 + 1e-9)).all())
        assert float((change_TE / limit_T1).max()) == pytest.approx(0.05)


def test_a_history_alone_is_adapted_as_in_a_batch(tower):
    encoder, history, item_TE, reference = tower
    whole_TE = plain.adapt(encoder, history, item_TE, reference, CONFIG)
    alone = [
        plain.adapt(encoder, *one_history(history, item_TE, u), reference, CONFIG)
        for u in range(len(LENGTHS))
        if LENGTHS[u]
    ]
    torch.testing.assert_close(torch.cat(alone), whole_TE, rtol=1e-9, atol=1e-9)


def test_what_an_attacker_differentiates_is_what_is_served(tower):
    encoder, history, item_TE, reference = tower
    served_TE = VectorAdaptation(encoder, reference, CONFIG)(history, item_TE)
    unrolled_TE = plain.adapt(encoder, history, item_TE.clone().requires_grad_(), reference, CONFIG)
    # Near the dead zone of the sign a rounding may decide.
    assert float(((served_TE - unrolled_TE).abs() < 1e-5).double().mean()) > 0.99
    assert torch.equal(unrolled_TE, plain.adapt(encoder, history, item_TE, reference, CONFIG))


def test_the_gradient_goes_through_the_steps(monkeypatch, tower):
    """With the soft sign in both directions it is that of finite differences."""
    encoder, history, item_TE, reference = tower
    config = VectorAdaptationConfig(window=3, newest_events=7, steps=2, step_size=0.02, radius=10.0)
    monkeypatch.setattr(plain, "soft_signs", lambda history, grad_TE: torch.tanh(grad_TE / 2))
    monkeypatch.setattr(plain, "root_mean_squares", lambda history, x_TE: torch.ones(len(history.lengths)).double())
    direction_TE, weights_TE = torch.randn_like(item_TE), torch.randn_like(item_TE)

    def value(x_TE):
        return (weights_TE * plain.adapt(encoder, history, x_TE, reference, config)).sum()

    x_TE = item_TE.clone().requires_grad_()
    (grad_TE,) = torch.autograd.grad(value(x_TE), x_TE)
    step = 1e-6
    difference = (value(item_TE + step * direction_TE) - value(item_TE - step * direction_TE)) / (2 * step)
    torch.testing.assert_close((grad_TE * direction_TE).sum(), difference, rtol=1e-5, atol=1e-7)
    # And not that of an adaptation that is taken for a constant.
    assert float((grad_TE - weights_TE).abs().max()) > 1e-3
