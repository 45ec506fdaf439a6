"""The blockwise sum against torch.logsumexp over the whole block, forward and backward."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinfm.model.layers import logsumexp
from pinfm.model.layers.logsumexp import NEVER, log_sum_exp


def plain(query_AO, z_KO, log_weight_K, hidden_SK, mask_row_A):
    logits = query_AO @ z_KO.T + log_weight_K
    if len(hidden_SK):
        logits = logits.masked_fill(hidden_SK[mask_row_A], NEVER)
    return logits.logsumexp(dim=1)


def inputs(anchors, items, users, dtype=torch.float64):
    query = torch.randn(anchors, 5, dtype=dtype, requires_grad=True)
    z = torch.randn(items, 5, dtype=dtype, requires_grad=True)
    log_weight = torch.randn(items).masked_fill(torch.rand(items) < 0.2, NEVER)
    hidden = torch.rand(users, items) < 0.3
    return query, z, log_weight, hidden, torch.randint(max(1, users), (anchors,))


@given(st.integers(0, 9), st.integers(1, 7), st.integers(0, 3), st.integers(1, 40))
def test_values_and_gradients_equal_the_plain_sum(anchors, items, users, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logsumexp, "BLOCK", block)
        arguments = inputs(anchors, items, users)
        ours, theirs = log_sum_exp(*arguments), plain(*arguments)
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
        # As in the losses: a sum over nothing has no say.
        upstream = torch.randn(anchors).masked_fill(theirs < NEVER / 2, 0.0)
        for wanted in arguments[:2]:
            ours_grad, theirs_grad = (
                torch.autograd.grad(value, wanted, upstream.to(value.dtype), retain_graph=True)[0]
                for value in (ours, theirs)
            )
            torch.testing.assert_close(ours_grad.double(), theirs_grad, rtol=1e-4, atol=1e-5)


def test_under_autocast_it_is_the_sum_of_products_in_bf16():
    arguments = inputs(30, 50, 2, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = log_sum_exp(*arguments)
    assert low.dtype == torch.float32
    exact = log_sum_exp(*arguments)
    assert not torch.equal(low, exact)
    torch.testing.assert_close(low, exact, rtol=0.02, atol=0.02)
    for wanted in arguments[:2]:
        grads = [torch.autograd.grad(value.sum(), wanted, retain_graph=True)[0] for value in (low, exact)]
        torch.testing.assert_close(*grads, rtol=0.1, atol=0.1)


def test_memory_does_not_grow_with_the_block():
    query, z, log_weight, hidden, row = inputs(2000, 1000, 1, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()) or tensor, lambda t: t):
        sizes = []
        log_sum_exp(query, z, log_weight, hidden, row)
    assert sizes
    assert max(sizes) <= 10_000
