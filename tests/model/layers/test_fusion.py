"""Late fusion against obvious loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import plain_dcat, roughen
from reference import causal_transformer, dcat_outputs, parts_read

from pinfm.model.inputs import Reads, own_histories
from pinfm.model.layers.fusion import EarlyFusion, EarlyFusionWithToken, LateFusion, LiteLast, LiteMean

DIM = 8
EVENTS = st.lists(st.integers(0, 6), min_size=1, max_size=4)


def draw_reads(data, events):
    """Up to three requests a history, each seeing some of its oldest events; and the candidates of each request."""
    shares = [data.draw(st.lists(st.integers(0, n), max_size=3)) for n in events]
    shares[0] = shares[0] or [events[0]]
    visible = [v for seen in shares for v in seen]
    owners = [s for s, seen in enumerate(shares) for _ in seen]
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(visible), max_size=len(visible)))
    return Reads(torch.tensor(owners), torch.tensor(visible)), counts


def mean_of(states):
    return sum(states) / len(states)


def last_of(states):
    return states[-1]


def make_dcat():
    return roughen(plain_dcat(num_layers=2, dim=DIM, num_heads=2)).eval()


@pytest.mark.parametrize(("lite", "summary"), [(LiteMean, mean_of), (LiteLast, last_of)])
@given(events=EVENTS, data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_late_fusion_summarises_what_each_request_sees(lite, summary, events, data, seed):
    torch.manual_seed(seed)
    late = LateFusion(make_dcat(), lite())
    reads, counts = draw_reads(data, events)
    rows = torch.randn(sum(events), DIM)
    context = late.encode(rows, torch.tensor(events))
    features = late(context, reads, torch.randn(sum(counts), DIM), torch.tensor(counts))
    expected = [torch.zeros(0, DIM)]
    for history, count in zip(parts_read(rows, events, reads), counts, strict=True):
        one = summary(causal_transformer(late.dcat, history)) if len(history) else torch.zeros(DIM)
        expected.append(one.expand(count, DIM))
    torch.testing.assert_close(features, torch.cat(expected), rtol=1e-5, atol=1e-5)


@given(EVENTS, st.data(), st.integers(0, 2**32))
@settings(max_examples=25)
def test_early_fusion_over_shared_histories_equals_the_causal_transformer(events, data, seed):
    torch.manual_seed(seed)
    early = EarlyFusion(make_dcat())
    reads, counts = draw_reads(data, events)
    rows, candidates = torch.randn(sum(events), DIM), torch.randn(sum(counts), DIM)
    crossed = early(early.encode(rows, torch.tensor(events)), reads, candidates, torch.tensor(counts))
    _, expected = dcat_outputs(early.dcat, rows, events, candidates, counts, reads=reads)
    torch.testing.assert_close(crossed, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lite", [LiteMean, LiteLast])
def test_empty_histories_give_zeros(lite):
    late = LateFusion(make_dcat(), lite())
    lengths = torch.tensor([0, 2, 0])
    context = late.encode(torch.randn(2, DIM), lengths)
    features = late(context, own_histories(lengths), torch.randn(4, DIM), torch.tensor([1, 1, 2]))
    assert features.any(1).tolist() == [False, True, False, False]
    zero = torch.tensor([0])
    none = late(late.encode(torch.zeros(0, DIM), zero), own_histories(zero), torch.randn(2, DIM), torch.tensor([2]))
    assert torch.equal(none, torch.zeros(2, DIM))


@pytest.mark.parametrize("lite", [LiteMean, LiteLast])
def test_late_fusion_never_reads_the_candidates(lite):
    late = LateFusion(make_dcat(), lite())
    context = late.encode(torch.randn(5, DIM), torch.tensor([3, 2]))
    counts, reads = torch.tensor([2, 1]), own_histories(context.lengths)
    one, other = (late(context, reads, torch.randn(3, DIM), counts) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(one[0], one[1])
    assert (one[0] - one[2]).abs().max() > 1e-3


def test_early_fusion_reads_the_candidates():
    dcat = make_dcat()
    for early in (EarlyFusion(dcat), EarlyFusionWithToken(dcat, DIM)):
        context = early.encode(torch.randn(5, DIM), torch.tensor([3, 2]))
        reads = own_histories(torch.tensor([3, 2]))
        one, other = (early(context, reads, torch.randn(3, DIM), torch.tensor([2, 1])) for _ in range(2))
        assert ((one - other).abs().amax(1) > 1e-3).all()


def test_behind_the_learnable_token_a_request_sees_a_whole_history():
    early = EarlyFusionWithToken(make_dcat(), DIM)
    events, tokens, candidates = torch.randn(5, DIM), torch.randn(3, DIM), torch.tensor([2, 1])
    context = early.encode(events, torch.tensor([3, 2]))
    shared = early(context, Reads(torch.tensor([0, 0]), torch.tensor([3, 3])), tokens, candidates)
    twice = early.encode(torch.cat([events[:3], events[:3]]), torch.tensor([3, 3]))
    alone = early(twice, own_histories(torch.tensor([3, 3])), tokens, candidates)
    torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="it must see the whole"):
        early(context, Reads(torch.tensor([0, 0]), torch.tensor([3, 2])), tokens, candidates)


def test_the_learnable_token_leaves_the_events_outputs_alone():
    dcat = make_dcat()
    rows, lengths = torch.randn(6, DIM), torch.tensor([4, 0, 2])
    plain, with_token = EarlyFusion(dcat), EarlyFusionWithToken(dcat, DIM)
    context = with_token.encode(rows, lengths)
    assert context.lengths.tolist() == [5, 1, 3]
    expected = plain.outputs(plain.encode(rows, lengths))
    torch.testing.assert_close(with_token.outputs(context), expected, rtol=1e-6, atol=1e-6)


def forms_of_fusion():
    dcat = make_dcat()
    return [
        EarlyFusion(dcat),
        EarlyFusionWithToken(dcat, DIM),
        LateFusion(dcat, LiteMean()),
        LateFusion(dcat, LiteLast()),
    ]


@given(EVENTS, st.data(), st.integers(0, 2**32))
@settings(max_examples=25)
def test_outputs_of_some_events_are_those_of_all(events, data, seed):
    torch.manual_seed(seed)
    chosen = data.draw(st.sets(st.integers(0, sum(events) - 1)) if sum(events) else st.just(set()))
    rows = torch.tensor(sorted(chosen), dtype=torch.int64)
    for fusion in forms_of_fusion():
        context = fusion.encode(torch.randn(sum(events), DIM), torch.tensor(events))
        some = fusion.outputs_at(context, rows)
        torch.testing.assert_close(some, fusion.outputs(context)[rows], rtol=1e-5, atol=1e-5)


def test_of_a_context_the_events_that_stay_are_left_as_they_are():
    """Events that are dropped from the end were read by no other: then it is as if they had never been."""
    rows, lengths, keep = torch.randn(5, DIM), torch.tensor([3, 2]), torch.tensor([True, True, False, True, False])
    for fusion in forms_of_fusion():
        kept = fusion.keep(fusion.encode(rows, lengths), keep)
        alone = fusion.encode(rows[keep], torch.tensor([2, 1]))
        assert kept.lengths.tolist() == alone.lengths.tolist()
        own = torch.tensor([True] * len(alone.rows))
        if isinstance(fusion, EarlyFusionWithToken):
            own[kept.lengths.cumsum(0) - 1] = False  # a token has read what was dropped
            assert torch.equal(kept.rows[~own], fusion.encode(rows, lengths).rows[[3, 6]])
        torch.testing.assert_close(kept.rows[own], alone.rows[own], rtol=1e-5, atol=1e-6)
        for kept_value, value in zip(kept.values, alone.values, strict=True):
            torch.testing.assert_close(kept_value[own], value[own], rtol=1e-5, atol=1e-6)
        assert len(kept.keys) == len(alone.keys)
        assert fusion.keep(fusion.encode(rows, lengths), torch.zeros(5, dtype=torch.bool)).lengths.sum() in (0, 2)


def test_all_layers_lose_the_keys_of_a_dropped_event():
    early = EarlyFusion(make_dcat())
    context = early.encode(torch.randn(4, DIM), torch.tensor([4]))
    keep = torch.tensor([True, False, True, True])
    kept = early.keep(context, keep)
    for part, whole in [(kept.keys, context.keys), (kept.values, context.values)]:
        assert len(part) == 2
        assert all(torch.equal(some, all_[keep]) for some, all_ in zip(part, whole, strict=True))
