"""Attention that never copies a history's keys or values for a candidate."""

import math

import pytest
import torch
from model_fakes import plain_dcat
from torch.utils._python_dispatch import TorchDispatchMode

from pinfm.model.layers.attention import _attend_in_products, attend_history_and_self, attention_mask


class LargestTensor(TorchDispatchMode):
    """Watches every operation, forward and backward, for the largest tensor that it gives."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


REQUESTS, HEADS, CANDIDATES, LENGTH, HEAD_DIM = 3, 2, 50, 40, 16


def attention_inputs():
    candidate = [torch.randn(REQUESTS, HEADS, CANDIDATES, HEAD_DIM, requires_grad=True) for _ in range(3)]
    history = [torch.randn(REQUESTS, HEADS, LENGTH, HEAD_DIM, requires_grad=True) for _ in range(2)]
    visible_UC = torch.randint(LENGTH + 1, (REQUESTS, CANDIDATES))
    visible_UC[0], visible_UC[1] = LENGTH, 0
    return *candidate, *history, attention_mask(visible_UC, history[0])


def attend_by_copies(query, key, value, keys, values, mask):
    """The form to avoid, and the reference: every candidate gets its own [history, self]."""

    def joined(history, own):
        copies = history[:, :, None].expand(-1, -1, CANDIDATES, -1, -1)
        return torch.cat([copies, own[:, :, :, None]], dim=3)

    scores = torch.einsum("uhcd,uhcld->uhcl", query, joined(keys, key)) / math.sqrt(HEAD_DIM)
    hidden = torch.cat([mask < 0, torch.zeros(REQUESTS, 1, CANDIDATES, 1, dtype=torch.bool)], dim=3)
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
    return torch.einsum("uhcl,uhcld->uhcd", weights, joined(values, value))


def forward_and_backward(attend, inputs):
    with LargestTensor() as largest:
        output = attend(*inputs)
        grads = torch.autograd.grad(output.square().sum(), inputs[:5])
    return output, grads, largest.numel


@pytest.mark.parametrize("attend", [attend_history_and_self, _attend_in_products])
def test_keys_and_values_are_never_copied_per_candidate(attend):
    inputs = attention_inputs()
    output, grads, largest = forward_and_backward(attend, inputs)
    expected, expected_grads, largest_with_copies = forward_and_backward(attend_by_copies, inputs)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-4, atol=1e-4)
    scores = REQUESTS * HEADS * CANDIDATES * (LENGTH + 1)
    assert largest_with_copies >= scores * HEAD_DIM
    assert largest <= scores


def test_scores_are_never_held_for_all_heads():
    inputs = attention_inputs()
    _, _, largest = forward_and_backward(attend_history_and_self, inputs)
    assert largest == REQUESTS * HEADS * CANDIDATES * HEAD_DIM < REQUESTS * HEADS * CANDIDATES * LENGTH


@torch.no_grad()
def test_the_scripted_form_is_the_same():
    inputs = attention_inputs()
    assert torch.equal(torch.jit.script(attend_history_and_self)(*inputs), attend_history_and_self(*inputs))


def test_the_whole_crossing_never_copies_the_context():
    dcat = plain_dcat(num_layers=2, dim=HEADS * HEAD_DIM, num_heads=HEADS)
    lengths = torch.tensor([LENGTH, 0, LENGTH])
    context = dcat.encode_context(torch.randn(2 * LENGTH, HEADS * HEAD_DIM), lengths)
    counts = torch.full([3], CANDIDATES)
    with LargestTensor() as largest:
        dcat.cross(context, torch.randn(3 * CANDIDATES, HEADS * HEAD_DIM), counts).sum().backward()
    mlp_hidden = 3 * CANDIDATES * 4 * HEADS * HEAD_DIM
    assert largest.numel <= mlp_hidden < 3 * CANDIDATES * LENGTH * HEADS * HEAD_DIM / 4
