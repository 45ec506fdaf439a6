"""Attention that never copies a history's keys or values for a candidate."""

import math

import pytest
import torch
from model_fakes import plain_dcat
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from pinfm.model.layers.attention import (
    _attend,
    _attend_history_backward,
    attend_history_and_self,
    attention_mask,
)


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


def attend_by_copies(query, key, value, keys, values, mask=None):
    """The form to avoid, and the reference: every candidate gets its own [history, self]."""
    if mask is None:
        mask = torch.zeros(1, device=query.device)
    mask = mask.expand(REQUESTS, 1, CANDIDATES, LENGTH)

    def joined(history, own):
        copies = history[:, :, None].expand(-1, -1, CANDIDATES, -1, -1)
        return torch.cat([copies, own[:, :, :, None]], dim=3)

    scores = torch.einsum("uhcd,uhcld->uhcl", query, joined(keys, key)) / math.sqrt(HEAD_DIM)
    hidden = torch.cat([mask < 0, torch.zeros(REQUESTS, 1, CANDIDATES, 1).to(mask) < 0], dim=3)
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
    return torch.einsum("uhcl,uhcld->uhcd", weights, joined(values, value))


def forward_and_backward(attend, inputs):
    with LargestTensor() as largest:
        output = attend(*inputs)
        grads = torch.autograd.grad(output.square().sum(), inputs[:5])
    return output, grads, largest.numel


def test_keys_and_values_are_never_copied_per_candidate():
    inputs = attention_inputs()
    output, grads, largest = forward_and_backward(attend_history_and_self, inputs)
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


# None hides nothing; (U, 1) hides the same for all candidates of a request; (U, C) for each its own.
MASKS = {
    "nothing hidden": None,
    "padding": torch.tensor([[LENGTH], [0], [7]]),
    "later events": torch.randint(LENGTH + 1, (REQUESTS, CANDIDATES)),
}


def masked_inputs(mask, device="cpu", dtype=torch.float32):
    inputs = [x.detach().to(device, dtype).requires_grad_() for x in attention_inputs()[:5]]
    return *inputs, None if mask is None else attention_mask(mask.to(device), inputs[3])


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_every_mask(mask):
    inputs = masked_inputs(mask)
    output, grads, _ = forward_and_backward(attend_history_and_self, inputs)
    expected, expected_grads, _ = forward_and_backward(attend_by_copies, inputs)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_cuda_gives_what_the_cpu_gives(mask, dtype, tolerance):
    inputs = masked_inputs(mask, "cuda", dtype)
    on_cpu = [None if x is None else x.detach().cpu().float().requires_grad_(x.requires_grad) for x in inputs]
    output, grads, _ = forward_and_backward(attend_history_and_self, inputs)
    expected, expected_grads, _ = forward_and_backward(attend_by_copies, on_cpu)
    torch.testing.assert_close(output.cpu().float(), expected, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(ours.cpu().float(), theirs, rtol=tolerance, atol=tolerance * theirs.abs().max())


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@torch.no_grad()
def test_the_cuda_path_fits_the_kernels_that_it_calls(mask):
    # Shapes alone, without a device: what a machine that has none can say of that path.
    with FakeTensorMode(allow_non_fake_inputs=True):
        query, key, value = torch.empty(3, REQUESTS, HEADS, CANDIDATES, HEAD_DIM, device="cuda")
        keys, values = torch.empty(2, REQUESTS, HEADS, LENGTH, HEAD_DIM, device="cuda")
        hidden = None if mask is None else attention_mask(torch.empty(mask.shape, device="cuda"), keys)
        output, lse, _ = _attend(query, key, value, keys, values, hidden)
        grads = _attend_history_backward(output, query, keys, values, hidden, output, lse)
    assert output.device.type == "cuda"
    assert (output.shape, lse.shape) == (query.shape, query.shape[:3])
    assert [grad.shape for grad in grads] == [x.shape for x in (query, keys, values)]


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
