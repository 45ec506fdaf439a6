"""Trust weights against plain loops, and against a world in which it is known who put an event there."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import ITEM_DIM, NUM_ITEMS, collate, joint_model, random_requests, schema
from plain_trust import anchor_places, own_and_others, trust
from trust_world import draw_items, history_of, trained_tower

from pinfm.embeddings.errors import UserError
from pinfm.model.adaptation.config import TrustConfig
from pinfm.model.adaptation.reference import make_reference
from pinfm.model.adaptation.trust import TrustWeights, anchor_rows
from pinfm.model.inputs import History

FUSIONS = [{}, {"token": True}, {"fusion": "lite_mean"}, {"request_time": True}]
EVENTS = st.lists(st.integers(0, 9), min_size=1, max_size=4)


def made(anchors=4, threshold=0.1, **options):
    """Trust weights of a random tower, and the vectors of its items."""
    encoder = joint_model(**options).encoder.requires_grad_(False)
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    others = collate(random_requests([5, 7, 6], [0, 0, 0], item_VE))
    reference = make_reference(encoder, others.history, others.item_TE, schema().positive_codes())
    config = TrustConfig(anchors=anchors, threshold=threshold)
    return TrustWeights(encoder, reference, config).eval(), reference, item_VE


def weighed(module, request):
    """The trust of a request's events, and their context."""
    context = module.encoder.encode_context(request.history, request.item_TE)
    return module(request.history, context, request.item_TE), context


def of_events(events, item_VE):
    return collate(random_requests(events, [0] * len(events), item_VE))


@pytest.mark.parametrize("options", FUSIONS)
@given(events=EVENTS, anchors=st.integers(1, 6), seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_equals_the_plain_loops(options, events, anchors, seed):
    torch.manual_seed(seed)
    module, reference, item_VE = made(anchors, **options)
    request = of_events(events, item_VE)
    expected = trust(module.encoder, request.history, request.item_TE, reference, anchors)
    torch.testing.assert_close(weighed(module, request)[0], expected, rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(0, 300), max_size=5), st.integers(1, 40))
def test_anchors_are_spread_evenly_and_hold_the_newest_event(lengths, most):
    rows, counts = anchor_rows(torch.tensor(lengths, dtype=torch.int64), most)
    expected = [sum(lengths[:u]) + place for u, n in enumerate(lengths) for place in anchor_places(n, most)]
    assert rows.tolist() == expected
    assert counts.tolist() == [min(n, most) for n in lengths]
    for n in lengths:
        places = anchor_places(n, most)
        assert not n or places[-1] == n - 1
        assert {b - a for a, b in pairwise(places)} <= {n // max(len(places), 1), -(-n // most)}


def test_an_event_without_witnesses_is_trusted():
    module, _, item_VE = made()
    assert weighed(module, of_events([1, 0, 1], item_VE))[0].tolist() == [1.0, 1.0]
    for events in ([0], [0, 0]):
        assert weighed(module, of_events(events, item_VE))[0].shape == (0,)
    nobody = torch.zeros(0, dtype=torch.int64)
    none = History(nobody, nobody, nobody, nobody, nobody)
    context = module.encoder.encode_context(none, torch.zeros(0, ITEM_DIM))
    trust_T = module(none, context, torch.zeros(0, ITEM_DIM))
    assert trust_T.shape == (0,)
    assert module.drop(none, context, trust_T)[0].lengths.shape == (0,)


def test_one_anchor_asks_the_newest_event_and_trusts_it():
    module, _, item_VE = made(anchors=1)
    trust_T = weighed(module, of_events([5, 3], item_VE))[0]
    assert (trust_T == 1).tolist() == [False] * 4 + [True, False, False, True]


@pytest.mark.parametrize("options", FUSIONS)
def test_a_history_is_weighed_alike_alone_and_beside_others(options):
    module, _, item_VE = made(**options)
    requests = random_requests([9, 0, 1, 40, 3], [0] * 5, item_VE)
    together = weighed(module, collate(requests))[0].split([9, 0, 1, 40, 3])
    for request, expected in zip(requests, together, strict=True):
        torch.testing.assert_close(weighed(module, collate([request]))[0], expected, rtol=1e-5, atol=1e-6)


def test_two_threads_weigh_as_one_does():
    module, _, item_VE = made(anchors=32)
    request = of_events([256, 100], item_VE)
    one = weighed(module, request)[0]
    assert torch.equal(weighed(module, request)[0], one)
    try:
        torch.set_num_threads(2)
        torch.testing.assert_close(weighed(module, request)[0], one, rtol=0, atol=1e-6)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("options", FUSIONS)
def test_scripted_and_frozen_it_weighs_and_drops_the_same(options):
    module, _, item_VE = made(threshold=0.5, **options)
    request = of_events([7, 0, 12], item_VE)
    trust_T, context = weighed(module, request)
    assert 0 < (trust_T < 0.5).sum() < 19
    frozen = torch.jit.freeze(torch.jit.script(module), preserved_attrs=["drop"])
    with torch.inference_mode():
        assert torch.equal(frozen(request.history, context, request.item_TE), trust_T)
        (history, kept), (same_history, same) = (
            each.drop(request.history, context, trust_T) for each in (frozen, module)
        )
    for ours, theirs in zip(
        [*history, kept.lengths, kept.rows, *kept.keys, *kept.values],
        [*same_history, same.lengths, same.rows, *same.keys, *same.values],
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_in_bfloat16_it_weighs_about_the_same():
    module, _, item_VE = made()
    request = of_events([20, 9], item_VE)
    exact = weighed(module, request)[0]
    for parameter in module.parameters():
        parameter.data = parameter.data.bfloat16()
    rough = weighed(module, request._replace(item_TE=request.item_TE.bfloat16()))[0]
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.1


def test_what_is_below_the_threshold_is_dropped_from_history_and_context():
    module, _, item_VE = made(threshold=0.25)
    request = of_events([4, 2], item_VE)
    context = module.encoder.encode_context(request.history, request.item_TE)
    trust_T = torch.tensor([0.2, 0.25, 1.0, 0.1, 0.0, 0.9])
    history, kept = module.drop(request.history, context, trust_T)
    assert history.lengths.tolist() == kept.lengths.tolist() == [2, 1]
    assert torch.equal(history.timestamp, request.history.timestamp[[1, 2, 5]])
    assert all(torch.equal(a, b[[1, 2, 5]]) for a, b in zip(kept.keys, context.keys, strict=True))


def test_no_weight_gets_a_gradient_and_the_state_dict_holds_the_tower_alone():
    module, _, _ = made()
    assert {name.partition(".")[0] for name in module.state_dict()} == {"encoder"}


@pytest.fixture(scope="module")
def world():
    torch.manual_seed(0)
    return trained_tower()


def area(own, injected):
    """AUC of scores of the user's own events against those of the injected ones."""
    return float((own[:, None] > injected[None, :]).float().mean())


def test_injected_events_are_told_from_the_users_own(world):
    encoder, vectors, reference = world
    items, of_fashion = draw_items(40, 1.0), draw_items(40, 0.0)
    injected = torch.rand(items.shape) < 0.2
    history = history_of(torch.where(injected, of_fashion, items))
    item_TE, bad = vectors[history.item_id], injected.flatten()
    module = TrustWeights(encoder, reference, TrustConfig(anchors=8)).eval()
    trust_T = module(history, encoder.encode_context(history, item_TE), item_TE)
    assert area(trust_T[~bad], trust_T[bad]) > 0.95
    # Of what everybody likes, a user's own states say no less than of a niche: without the public nothing is told.
    own_T = torch.tensor([own for own, _ in own_and_others(encoder, history, item_TE, reference, 8)])
    assert area(own_T[~bad], own_T[bad]) < 0.75
    shuffled = trust_T[torch.randperm(len(trust_T))]
    assert 0.4 < area(shuffled[~bad], shuffled[bad]) < 0.6


def test_few_events_of_clean_histories_are_dropped(world):
    encoder, vectors, reference = world
    history = history_of(draw_items(40, 0.6))
    item_TE = vectors[history.item_id]
    module = TrustWeights(encoder, reference, TrustConfig()).eval()
    context = encoder.encode_context(history, item_TE)
    kept, _ = module.drop(history, context, module(history, context, item_TE))
    assert kept.lengths.sum() > 0.97 * history.lengths.sum()


def test_impossible_settings_are_refused():
    with pytest.raises(UserError, match=r"^trust\.threshold \(1\.0\) must lie in \[0, 1\)\.$"):
        TrustConfig(threshold=1.0)
    with pytest.raises(UserError, match=r"trust\.anchors"):
        TrustConfig(anchors=0)
