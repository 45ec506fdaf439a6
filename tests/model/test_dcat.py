"""DCAT against the plain causal transformer over [history, candidate]: outputs and gradients."""

import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from model_fakes import assert_same_gradients, gradients, plain_dcat, roughen
from reference import dcat_outputs

from pinfm.model.attention.visibility import crossing, histories
from pinfm.model.inputs import Reads, own_histories
from pinfm.model.layers.fusion import EarlyFusionWithToken

DIM = 8
REQUESTS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=1, max_size=4)
CASES = {
    "ragged": [(5, 2), (0, 3), (1, 0), (7, 1)],
    "all histories empty": [(0, 2), (0, 1)],
    "no candidate at all": [(3, 0), (0, 0)],
    "one request": [(6, 3)],
    "nothing": [(0, 0)],
}


# So ragged that each history, and each request, is a call of its own at the width of 32.
RUNS = [(300, 2), (1, 300)]


def make_dcat(num_layers=2, num_heads=2, dim=DIM, **variant):
    return roughen(plain_dcat(num_layers=num_layers, dim=dim, num_heads=num_heads, **variant)).eval()


def assert_equals_reference(dcat, requests, tolerance, dtype=torch.float32):
    """Compares states, crossings and every gradient; rows come from a small pool, so that many are duplicates."""
    events, counts = (list(column) for column in zip(*requests, strict=True))
    [dim] = dcat.final_norm.normalized_shape
    pool = torch.randn(4, dim, dtype=dtype, requires_grad=True)
    event_rows, candidate_rows = torch.randint(4, (sum(events),)), torch.randint(4, (sum(counts),))
    state_weights = torch.randn(sum(events), dim, dtype=dtype) / dim
    crossed_weights = torch.randn(sum(counts), dim, dtype=dtype) / dim
    tensors = {"rows": pool, **dict(dcat.named_parameters())}

    def loss(states, crossed):
        return (states * state_weights).sum() + (crossed * crossed_weights).sum()

    context = dcat.encode_context(pool[event_rows], torch.tensor(events))
    actual = dcat.outputs(context), dcat.cross(context, pool[candidate_rows], torch.tensor(counts))
    expected = dcat_outputs(dcat, pool[event_rows], events, pool[candidate_rows], counts)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert_same_gradients(gradients(loss(*actual), tensors), gradients(loss(*expected), tensors), tolerance)


@given(REQUESTS, st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(0, 2**32))
@example(CASES["all histories empty"], 2, 2, 0)
@settings(max_examples=40)
def test_equals_the_causal_transformer(requests, num_layers, num_heads, seed):
    torch.manual_seed(seed)
    assert_equals_reference(make_dcat(num_layers, num_heads), requests, tolerance=1e-5)


@given(
    REQUESTS,
    st.sampled_from([{"mlp": "swiglu"}, {"positions": "none"}, {"attention_gate": True}]),
    st.integers(0, 2**32),
)
@settings(max_examples=30)
def test_every_variant_equals_the_causal_transformer(requests, variant, seed):
    torch.manual_seed(seed)
    assert_equals_reference(make_dcat(**variant), requests, tolerance=1e-5)


def test_several_runs_equal_the_causal_transformer():
    lengths, counts = torch.tensor(RUNS).T
    assert len(histories(lengths, 32).runs) == len(crossing(counts, own_histories(lengths), lengths, 32).runs) == 2
    assert_equals_reference(make_dcat(dim=32), RUNS, tolerance=1e-4)


def outputs_and_gradients(function, dcat, rows, weights):
    """Of some way to compute the crossing: its rows, and the gradients of events, candidates and all weights in one."""
    rows = [x.detach().requires_grad_() for x in rows]
    crossed = function(dcat, *rows)
    of_all = torch.autograd.grad((crossed * weights).sum(), [*rows, *dcat.parameters()], allow_unused=True)
    return crossed, torch.cat([x.flatten() for x in of_all if x is not None])


def assert_near_reference(dcat, requests, device, dtype, tolerance):
    """Crossings and gradients in a precision and on a device, beside those of the same numbers in float32 on a CPU."""
    lengths, counts = torch.tensor(requests).T
    dcat = dcat.to(dtype)  # from here on both have the rounded weights
    [dim] = dcat.final_norm.normalized_shape
    rows = [torch.randn(int(n.sum()), dim).to(dtype) for n in (lengths, counts)]
    weights = torch.randn(int(counts.sum()), dim).to(dtype)

    def ours(module, events, candidates):
        return module.cross(module.encode_context(events, lengths.to(device)), candidates, counts.to(device))

    def theirs(module, events, candidates):
        return dcat_outputs(module, events, lengths.tolist(), candidates, counts.tolist())[1]

    expected = outputs_and_gradients(theirs, copy.deepcopy(dcat).float(), [x.float() for x in rows], weights.float())
    found = outputs_and_gradients(ours, dcat.to(device), [x.to(device) for x in rows], weights.to(device))
    for x, y in zip(found, expected, strict=True):
        assert (x.detach().cpu().float() - y).abs().max() <= tolerance * y.abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("requests", [CASES["ragged"], RUNS], ids=["ragged", "long"])
def test_every_device_and_precision_is_near_the_causal_transformer(requests, dtype, tolerance, device):
    assert_near_reference(make_dcat(dim=32), requests, device, dtype, tolerance)


@pytest.mark.parametrize("requests", CASES.values(), ids=CASES)
def test_equals_the_causal_transformer_in_double_precision(monkeypatch, requests):
    # The model's angles are float32 by design. With exact ones only the order of sums is left to differ.
    def exact_angles(self, positions_T):
        wavelengths = 10_000.0 ** (torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        angles = positions_T[:, None] / wavelengths
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    monkeypatch.setattr("pinfm.model.layers.transformer.RotaryPositions.forward", exact_angles)
    assert_equals_reference(make_dcat().double(), requests, tolerance=1e-11, dtype=torch.float64)


@given(REQUESTS, st.integers(0, 2**32))
@example(CASES["all histories empty"], 0)
@settings(max_examples=25)
def test_equals_the_causal_transformer_with_a_learnable_token(requests, seed):
    torch.manual_seed(seed)
    fusion = roughen(EarlyFusionWithToken(make_dcat(), DIM))
    events, counts = (list(column) for column in zip(*requests, strict=True))
    event_rows, candidate_rows = torch.randn(sum(events), DIM), torch.randn(sum(counts), DIM)
    weights = torch.randn(sum(counts), DIM) / DIM
    tensors = dict(fusion.named_parameters())

    context = fusion.encode(event_rows, torch.tensor(events))
    crossed = fusion(context, own_histories(torch.tensor(events)), candidate_rows, torch.tensor(counts))
    states, expected = dcat_outputs(fusion.dcat, event_rows, events, candidate_rows, counts, fusion.token_D)
    torch.testing.assert_close(fusion.outputs(context), states, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(crossed, expected, rtol=1e-5, atol=1e-5)
    assert_same_gradients(
        gradients((crossed * weights).sum(), tensors), gradients((expected * weights).sum(), tensors), 1e-5
    )


def test_the_learnable_token_matters():
    fusion = EarlyFusionWithToken(make_dcat(), DIM)
    rows, candidate = torch.randn(3, DIM), torch.randn(1, DIM)

    def crossed():
        lengths = torch.tensor([3])
        return fusion(fusion.encode(rows, lengths), own_histories(lengths), candidate, torch.tensor([1]))

    before = crossed()
    with torch.no_grad():
        fusion.token_D.add_(torch.randn(DIM))
    assert (crossed() - before).abs().max() > 1e-3


def test_a_candidate_that_sees_part_of_the_history_equals_one_after_that_part():
    dcat = make_dcat()
    history, candidates = torch.randn(5, DIM), torch.randn(6, DIM)
    context = dcat.encode_context(history, torch.tensor([5]))
    reads = Reads(torch.zeros(6, dtype=torch.int64), torch.arange(6))
    crossed = dcat.cross(context, candidates, torch.ones(6, dtype=torch.int64), reads)
    for visible in range(6):
        _, expected = dcat_outputs(dcat, history[:visible], [visible], candidates[visible : visible + 1], [1])
        torch.testing.assert_close(crossed[visible : visible + 1], expected, rtol=1e-5, atol=1e-5)


def test_shuffled_requests_give_shuffled_outputs():
    dcat = make_dcat()
    requests = [(torch.randn(events, DIM), torch.randn(count, DIM)) for events, count in CASES["ragged"]]

    def outputs(order):
        histories, candidates = zip(*(requests[i] for i in order), strict=True)
        context = dcat.encode_context(torch.cat(histories), torch.tensor([len(h) for h in histories]))
        lengths = [len(c) for c in candidates]
        crossed = dcat.cross(context, torch.cat(candidates), torch.tensor(lengths))
        return dict(zip(order, crossed.split(lengths), strict=True))

    plain, shuffled = outputs([0, 1, 2, 3]), outputs([3, 1, 0, 2])
    for i in range(4):
        torch.testing.assert_close(shuffled[i], plain[i], rtol=1e-6, atol=1e-6)


def test_duplicated_requests_give_the_rows_of_one():
    dcat = make_dcat()
    history, candidates = torch.randn(4, DIM), torch.randn(2, DIM)[[0, 1, 0]]
    context = dcat.encode_context(torch.cat([history, history]), torch.tensor([4, 4]))
    crossed = dcat.cross(context, torch.cat([candidates, candidates]), torch.tensor([3, 3]))
    torch.testing.assert_close(crossed[:3], crossed[3:], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(crossed[0], crossed[2], rtol=1e-6, atol=1e-6)
    assert (crossed[0] - crossed[1]).abs().max() > 1e-2


def test_candidates_see_the_order_of_the_history():
    dcat = make_dcat()
    history, candidate = torch.randn(4, DIM), torch.randn(1, DIM)

    def crossed(rows):
        return dcat.cross(dcat.encode_context(rows, torch.tensor([4])), candidate, torch.tensor([1]))

    assert (crossed(history) - crossed(history[[1, 0, 2, 3]])).abs().max() > 1e-3


def test_dropout_acts_while_training_alone():
    dcat = plain_dcat(num_layers=1, dim=DIM, num_heads=2, dropout=0.5)
    context = dcat.encode_context(torch.randn(3, DIM), torch.tensor([3]))
    assert not torch.equal(dcat.outputs(context), dcat.outputs(context))
    dcat.eval()
    assert torch.equal(dcat.outputs(context), dcat.outputs(context))
