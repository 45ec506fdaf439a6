"""Attention over jagged rows: against one softmax a candidate, and never copying a history's keys or values for it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import plain_dcat
from torch.utils._python_dispatch import TorchDispatchMode

from pinfm.model.attention import padded
from pinfm.model.attention.groups import PADDING_PER_CALL, group_lengths, groups_of
from pinfm.model.attention.merged import attend_causally, attend_history_and_self
from pinfm.model.attention.runs import MOST_HELD, SCORES_PER_CALL, Run, runs_of
from pinfm.model.attention.visibility import Crossing, Histories, crossing, histories, padded_crossing
from pinfm.model.inputs import Reads, own_histories
from pinfm.model.layers.jagged import layout, starts

HEADS, HEAD_DIM = 2, 16
FORMS = ["runs", "groups", "one block"]
# (events of each history), (history, visible events, candidates of each request)
SHARED = [5, 0, 9], [(0, 2, 3), (0, 5, 1), (1, 0, 2), (2, 9, 4), (2, 0, 2), (2, 9, 0)]


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


def requests_of(lengths, requests):
    """The requests as tensors: candidates of each, what they read, events of each history."""
    history, visible, candidates = (torch.tensor(column, dtype=torch.int64) for column in zip(*requests, strict=True))
    return candidates, Reads(history, visible), torch.tensor(lengths)


def sees(candidates, reads, lengths, as_runs=True):
    """The crossing as runs or as one padded block, whichever would be faster."""
    runs = runs_of(candidates, starts(lengths)[reads.history], reads.visible) if as_runs else []
    return Crossing(runs, None if runs else padded_crossing(candidates, reads, lengths))


def random_rows(num_candidates, num_events, device="cpu", dtype=torch.float32):
    """Queries, keys and values of the candidates, keys and values of the events."""
    sizes = [num_candidates] * 3 + [num_events] * 2
    return [torch.randn(n, HEADS, HEAD_DIM, device=device, dtype=dtype, requires_grad=True) for n in sizes]


def attend_one_by_one(query, key, value, keys, values, candidates, reads, lengths):
    """The reference: a softmax over [what it sees, itself] for every candidate and head."""
    rows, n = [value[:0]], 0
    first = starts(lengths)[reads.history].tolist()
    for begin, visible, count in zip(first, reads.visible.tolist(), candidates.tolist(), strict=True):
        for _ in range(count):
            seen_keys = torch.cat([keys[begin : begin + visible], key[n : n + 1]])
            seen_values = torch.cat([values[begin : begin + visible], value[n : n + 1]])
            weights = torch.einsum("hd,lhd->hl", query[n], seen_keys).div(math.sqrt(HEAD_DIM)).softmax(-1)
            rows.append(torch.einsum("hl,lhd->hd", weights, seen_values)[None])
            n += 1
    return torch.cat(rows)


def with_gradients(output, inputs):
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    loss = (output * weights).sum() + 0.0 * sum(x.sum() for x in inputs)
    return output, *torch.autograd.grad(loss, inputs)


REQUESTS = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), max_size=3)),
    min_size=1,
    max_size=4,
)


@given(REQUESTS, st.booleans(), st.integers(0, 2**32))
@settings(max_examples=80)
def test_every_candidate_sees_its_part_and_itself(histories, as_runs, seed):
    torch.manual_seed(seed)
    lengths = [length for length, _ in histories]
    requests = [(s, round(part * n), count) for s, (n, readers) in enumerate(histories) for part, count in readers]
    candidates, reads, lengths = requests_of(lengths, requests or [(0, 0, 0)])
    inputs = random_rows(int(candidates.sum()), int(lengths.sum()))
    found = with_gradients(attend_history_and_self(*inputs, sees(candidates, reads, lengths, as_runs)), inputs)
    expected = with_gradients(attend_one_by_one(*inputs, candidates, reads, lengths), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.sampled_from(FORMS), st.integers(0, 2**32))
@settings(max_examples=60)
def test_every_event_sees_itself_and_what_came_before(lengths, form, seed):
    torch.manual_seed(seed)
    # An event's own key is one more column beside those before it.
    requests = [(s, i, 1) for s, length in enumerate(lengths) for i in range(length)]
    inputs = random_rows(0, sum(lengths))[3:]
    query = torch.randn(sum(lengths), HEADS, HEAD_DIM, requires_grad=True)
    rows = [query, *inputs]
    lengths_S = torch.tensor(lengths)
    runs = runs_of(lengths_S, torch.zeros_like(lengths_S), torch.zeros_like(lengths_S)) if form == "runs" else []
    # However little a cut would save.
    groups = groups_of(lengths_S, group_lengths(lengths_S, 1, padding_per_call=0)) if form == "groups" else None
    found = with_gradients(attend_causally(*rows, Histories(runs, layout(lengths_S), groups)), rows)
    expected = attend_one_by_one(*rows, *inputs, *requests_of(lengths, requests or [(0, 0, 0)]))
    torch.testing.assert_close(found, with_gradients(expected, rows), rtol=1e-4, atol=1e-5)


def test_neighbours_of_one_shape_are_one_run():
    candidates, reads, lengths = requests_of([3, 3, 0, 0, 4], [(0, 3, 2), (1, 3, 2), (2, 0, 2), (3, 0, 2), (4, 3, 2)])
    runs = sees(candidates, reads, lengths).runs
    assert runs == [Run(2, 2, 0, 3), Run(2, 2, 6, 0), Run(1, 2, 6, 3)]


def test_requests_of_one_history_are_runs_of_their_own():
    candidates, reads, lengths = requests_of([3], [(0, 3, 2), (0, 3, 2), (0, 2, 0)])
    assert sees(candidates, reads, lengths).runs == [Run(1, 2, 0, 3), Run(1, 2, 0, 3)]


def test_equal_sequences_are_one_run_whatever_their_number():
    same = torch.full([500], 7)
    assert runs_of(same, 4 * torch.arange(500), torch.full([500], 4)) == [Run(500, 7, 0, 4)]


def test_runs_have_to_be_worth_their_calls():
    lengths = torch.tensor([1000, 1, 1])
    padding = 3 * 1000**2 - (1000**2 + 1 + 1)
    assert histories(lengths, width=2 * SCORES_PER_CALL // padding).runs == []
    assert histories(lengths, width=2 * SCORES_PER_CALL // padding + 1).runs == [Run(1, 1000, 0, 0), Run(2, 1, 0, 0)]
    assert histories(torch.tensor([7, 7]), width=1).runs == [Run(2, 7, 0, 0)]
    candidates, reads = torch.tensor([1, 1000]), own_histories(torch.tensor([1000, 1]))
    assert crossing(candidates, reads, reads.visible, width=1).runs == []
    assert crossing(candidates, reads, reads.visible, width=2).runs == [Run(1, 1, 0, 1000), Run(1, 1000, 1000, 1)]


def test_histories_share_a_block_where_another_would_save_less_than_its_call():
    lengths = torch.tensor([2, 9, 0, 3, 8])
    assert group_lengths(lengths, width=1) == [9]
    assert group_lengths(lengths, width=PADDING_PER_CALL // (2 * (9**2 - 3**2)) + 1) == [3, 9]
    assert group_lengths(torch.tensor([0, 0]), width=PADDING_PER_CALL) == [0]
    blocks = groups_of(lengths, [3, 9])
    assert (blocks.counts, blocks.lengths) == ([2, 2], [3, 9])
    # Two slots of the first history, its newest again; three of the fourth; nine of the second; and so on.
    assert blocks.rows[:6].tolist() == [0, 1, 1, 11, 12, 13]
    assert blocks.rows[blocks.slots].tolist() == list(range(22))
    assert len(blocks.rows) == 2 * 3 + 2 * 9


def test_a_mask_is_no_memory_to_speak_of():
    # Requests that are nearly alike waste little by padding; still their mask may not grow with them.
    def runs(users):
        candidates, lengths = torch.full([users], 1000), 1000 - torch.arange(users)
        return crossing(candidates, own_histories(lengths), lengths, width=1).runs

    most = MOST_HELD // 1000**2
    assert runs(most) == []
    assert len(runs(most + 1)) == most + 1


def test_scores_and_copies_are_never_held():
    lengths, candidates = torch.tensor([40, 7, 40]), torch.tensor([50, 50, 20])
    inputs = random_rows(120, 87)
    with LargestTensor() as largest:
        attended = attend_history_and_self(*inputs, sees(candidates, own_histories(lengths), lengths))
        torch.autograd.grad(attended.square().sum(), inputs)
    assert largest.numel == 120 * HEADS * HEAD_DIM < 50 * HEADS * 40


def test_the_whole_crossing_never_copies_the_context():
    dcat = plain_dcat(num_layers=2, dim=HEADS * HEAD_DIM, num_heads=HEADS)
    context = dcat.encode_context(torch.randn(80, HEADS * HEAD_DIM), torch.tensor([40, 0, 40]))
    with LargestTensor() as largest:
        dcat.cross(context, torch.randn(150, HEADS * HEAD_DIM), torch.full([3], 50)).sum().backward()
    mlp_hidden = 150 * 4 * HEADS * HEAD_DIM
    assert largest.numel <= mlp_hidden < 150 * 40 * HEADS * HEAD_DIM / 4


@pytest.mark.parametrize("width", [16, SCORES_PER_CALL])
@torch.no_grad()
def test_the_scripted_forms_are_the_same(width):
    requests = requests_of(*SHARED)
    inputs = random_rows(int(requests[0].sum()), int(requests[2].sum()))
    crossed = crossing(*requests, width)
    assert (len(crossed.runs) > 0) == (width > 16)
    assert torch.jit.script(crossing)(*requests, width).runs == crossed.runs
    found = torch.jit.script(attend_history_and_self)(*inputs, crossed)
    assert torch.equal(found, attend_history_and_self(*inputs, crossed))
    events = inputs[3], *inputs[3:], torch.jit.script(histories)(requests[2], width)
    assert (events[-1].groups is None) == (width > 16)
    among = histories(requests[2], width)
    assert torch.equal(torch.jit.script(attend_causally)(*events), attend_causally(*events[:-1], among))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2), (torch.float16, 3e-3)])
def test_the_padded_block_gives_what_the_reference_gives(dtype, tolerance, device):
    candidates, reads, lengths = requests_of(*SHARED)
    inputs = random_rows(int(candidates.sum()), int(lengths.sum()), device, dtype)
    block = padded_crossing(candidates.to(device), Reads(*(x.to(device) for x in reads)), lengths.to(device))
    crossed = Crossing([], block)
    found = with_gradients(attend_history_and_self(*inputs, crossed), inputs)
    on_cpu = [x.detach().cpu().float().requires_grad_() for x in inputs]
    expected = with_gradients(attend_one_by_one(*on_cpu, candidates, reads, lengths), on_cpu)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(
            ours.cpu().float(), theirs, rtol=tolerance, atol=tolerance * float(theirs.detach().abs().max())
        )


@torch.no_grad()
def test_the_cuda_path_fits_the_kernels_that_it_calls():
    # Shapes alone, without a device: what a machine that has none, or a build of torch without CUDA, can say of them.
    with torch.device("meta"):
        query = torch.empty(3, 50, HEADS, HEAD_DIM).transpose(1, 2)
        keys, values = torch.empty(2, 3, HEADS, 40, HEAD_DIM)
        bias = torch.empty(3, 1, 50, 40).expand(-1, HEADS, -1, -1)
        history, lse = padded.kernel(query, keys, values, bias)
        grads = padded.kernel_backward(history, query, keys, values, bias, history, lse[:, :, :50])
    assert history.shape == query.shape
    assert lse.shape == (3, HEADS, 64)
    assert [grad.shape for grad in grads] == [x.shape for x in (query, keys, values)]
