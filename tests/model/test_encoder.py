"""The whole dense tower against the obvious one, and the builder."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from model_fakes import (
    ITEM_DIM,
    NUM_ITEMS,
    assert_same_gradients,
    collate,
    config,
    gradients,
    random_requests,
    roughen,
    schema,
)
from reference import encoder_outputs, parts_read

from pinfm.embeddings.errors import UserError
from pinfm.model.cold_start import ContentFusion, NoContent
from pinfm.model.config import ModelConfig, TowerConfig
from pinfm.model.encoder import build_encoder
from pinfm.model.inputs import History, Reads
from pinfm.model.layers.fusion import EarlyFusion, EarlyFusionWithToken, LateFusion, LiteLast, LiteMean
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, RequestTime, gaps_to_next

REQUESTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=4)


def make_encoder(**options):
    content_dim = 3 if options.get("content") else 0
    return roughen(build_encoder(config(**options), schema(content_dim), ITEM_DIM)).eval()


def assert_equals_reference(encoder, lengths, content_dim, tolerance, dtype=torch.float32):
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM, dtype=dtype, requires_grad=True)
    history, candidates, _, item_TE, item_NE = collate(
        random_requests(*zip(*lengths, strict=True), item_VE, content_dim)
    )
    context = encoder.encode_context(history, item_TE)
    actual = encoder.states(context, gaps_to_next(history)), encoder.cross(context, history, candidates, item_NE)
    expected = encoder_outputs(encoder, history, candidates, item_TE, item_NE)
    weights = [torch.randn_like(output) / 8 for output in actual]
    tensors = {"items": item_VE, **dict(encoder.named_parameters())}
    losses = [
        sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))
        for outputs in (actual, expected)
    ]
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert_same_gradients(gradients(losses[0], tensors), gradients(losses[1], tensors), tolerance)


@pytest.mark.parametrize("content", [False, True], ids=["ids", "content"])
@pytest.mark.parametrize(
    "options", [{}, {"token": True}, {"request_time": True}], ids=["plain", "token", "request time"]
)
@given(lengths=REQUESTS, seed=st.integers(0, 2**32))
@example(lengths=[(0, 2), (0, 1)], seed=0)
@example(lengths=[(3, 0)], seed=0)
@settings(max_examples=8)
def test_equals_the_obvious_tower(options, content, lengths, seed):
    torch.manual_seed(seed)
    encoder = make_encoder(content=content, **options)
    assert_equals_reference(encoder, lengths, 3 if content else 0, tolerance=1e-5)


def test_equals_the_obvious_tower_in_double_precision():
    # Angles stay float32 in the model, so this is closer than float32 and not exact.
    encoder = make_encoder(token=True, content=True).double()
    assert_equals_reference(encoder, [(4, 2), (0, 1), (2, 3)], 3, tolerance=1e-6, dtype=torch.float64)


def test_requests_that_share_a_history_equal_the_obvious_tower_and_requests_with_their_own():
    encoder = make_encoder()
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    history, _, _, item_TE, _ = collate(random_requests([5, 0, 3], [0, 0, 0], item_VE))
    _, candidates, _, _, item_NE = collate(random_requests([0] * 5, [2, 0, 1, 3, 2], item_VE))
    candidates = candidates._replace(request_timestamp=2 * 10**9 + torch.arange(5))
    reads = Reads(torch.tensor([0, 0, 0, 1, 2]), torch.tensor([2, 0, 5, 0, 3]))
    shared = encoder.cross(encoder.encode_context(history, item_TE), history, candidates, item_NE, reads)
    expected = encoder_outputs(encoder, history, candidates, item_TE, item_NE, reads)[1]
    torch.testing.assert_close(shared, expected, rtol=1e-5, atol=1e-5)

    copies = [torch.cat(parts_read(rows, history.lengths.tolist(), reads)) for rows in (*history[1:], item_TE)]
    own = History(reads.visible, *copies[:-1])
    alone = encoder.cross(encoder.encode_context(own, copies[-1]), own, candidates, item_NE)
    torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-6)


def test_the_features_depend_on_every_input():
    encoder = make_encoder(content=True)
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    history, candidates, _, item_TE, item_NE = collate(random_requests([3], [2], item_VE, 3))

    def features(history=history, candidates=candidates, item_TE=item_TE, item_NE=item_NE):
        return encoder.cross(encoder.encode_context(history, item_TE), history, candidates, item_NE)

    changed = [
        features(history=history._replace(action=(history.action + 1) % 4)),
        features(history=history._replace(timestamp=history.timestamp - torch.tensor([10**6, 0, 0]))),
        features(item_TE=item_TE.flip(0) + 1),
        features(item_NE=item_NE + torch.randn(ITEM_DIM)),
        features(candidates=candidates._replace(content=torch.randn(2, 3))),
        features(candidates=candidates._replace(request_timestamp=candidates.request_timestamp + 10**7)),
        features(candidates=candidates._replace(surface=(candidates.surface + 1) % 3)),
    ]
    for other in changed:
        assert (other - features()).abs().max() > 1e-4


def test_item_age_drops_features_while_training():
    encoder = make_encoder()
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    history, candidates, _, item_TE, item_NE = collate(random_requests([3, 2], [200, 200], item_VE))
    now = candidates.request_timestamp.repeat_interleave(200)
    age_days = torch.tensor([1, 40]).repeat_interleave(200)
    candidates = candidates._replace(created_at=now - age_days * 86_400)
    context = encoder.encode_context(history, item_TE)
    encoder.age_dropout.train()
    dropped = (encoder.cross(context, history, candidates, item_NE) == 0).float()
    assert dropped[:200].mean() == pytest.approx(0.7, abs=0.06)
    assert dropped[200:].mean() == 0


def test_half_of_the_gaps_are_hidden_in_training():
    request_time = RequestTime(1).train()
    with torch.no_grad():
        request_time.gap.weight.copy_(torch.arange(NUM_GAP_BUCKETS + 1.0)[:, None])
    told = request_time(torch.zeros(4000, 1), torch.full((4000,), 7))
    assert set(told.unique().tolist()) == {7.0, float(NUM_GAP_BUCKETS)}
    assert (told == 7.0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_states_and_psi_have_length_one():
    encoder = make_encoder()
    history, _, _, item_TE, _ = collate(random_requests([3, 2], [1, 1], torch.randn(NUM_ITEMS, ITEM_DIM)))
    states = encoder.states(encoder.encode_context(history, item_TE), gaps_to_next(history))
    assert states.shape == encoder.psi(item_TE).shape == (5, 5)
    torch.testing.assert_close(states.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(encoder.psi(item_TE).norm(dim=1), torch.ones(5))


def test_the_temperature_is_learnt_and_bounded():
    encoder = build_encoder(config(), schema(), ITEM_DIM)
    assert encoder.temperature().item() == pytest.approx(0.1)
    (gradient,) = torch.autograd.grad(encoder.temperature(), encoder.log_temperature)
    assert gradient.item() == pytest.approx(0.1)
    with torch.no_grad():
        encoder.log_temperature.fill_(math.log(1e-6))
    assert encoder.temperature().item() == pytest.approx(0.01)


def test_content_fusion_needs_content():
    with pytest.raises(UserError, match=r"^cold_start\.content_fusion is on, but the dataset's items have no content"):
        build_encoder(config(content=True), schema(content_dim=0), ITEM_DIM)


@pytest.mark.parametrize(
    ("options", "fusion", "summary", "content"),
    [
        ({}, EarlyFusion, None, NoContent),
        ({"token": True}, EarlyFusionWithToken, None, NoContent),
        ({"content": True}, EarlyFusion, None, ContentFusion),
        ({"fusion": "lite_mean"}, LateFusion, LiteMean, NoContent),
        ({"fusion": "lite_last"}, LateFusion, LiteLast, NoContent),
    ],
)
def test_the_builder_picks_what_the_config_names(options, fusion, summary, content):
    encoder = make_encoder(**options)
    assert type(encoder.fusion) is fusion
    assert summary is None or type(encoder.fusion.summary) is summary
    assert type(encoder.content) is content
    assert len(encoder.fusion.dcat.blocks) == 2
    assert encoder.age_dropout.young == 0.7
    assert encoder.age_dropout.middle == 0.5


def test_tied_heads_want_item_vectors_as_wide_as_the_transformer():
    tied = ModelConfig(tower=TowerConfig(dim=8, out_dim=8, num_heads=1, heads="tied"))
    with pytest.raises(UserError, match=r"an item's vector has 12 columns and the transformer 8; let item_table"):
        build_encoder(tied, schema(), 12)
    item_VE = torch.randn(5, 8)
    assert torch.equal(build_encoder(tied, schema(), 8).psi(item_VE), item_VE)
