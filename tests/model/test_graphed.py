"""The pass of a fixed shape gives what the jagged one gives, and nothing in it waits for a number."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import plain_dcat, roughen

from pinfm.model.graphed import FixedDCAT, FixedShape, GraphedDCAT

DIM = 16
SHAPE = FixedShape(requests=3, events=8, candidates=4)


def make_dcat(**variant):
    return roughen(plain_dcat(num_layers=2, dim=DIM, num_heads=2, **variant)).eval()


def jagged(dcat, events_ULD, lengths_U, candidates_UCD):
    """The candidates' rows as `DCAT.cross` gives them."""
    real = torch.arange(events_ULD.size(1), device=lengths_U.device) < lengths_U[:, None]
    context = dcat.encode_context(events_ULD[real], lengths_U)
    counts_U = torch.full_like(lengths_U, candidates_UCD.size(1))
    return dcat.cross(context, candidates_UCD.flatten(0, 1), counts_U).view_as(candidates_UCD)


def random_batch(lengths=(5, 0, 8), device="cpu"):
    events, candidates = torch.randn(3, SHAPE.events, DIM), torch.randn(3, SHAPE.candidates, DIM)
    return events.to(device), torch.tensor(lengths, device=device), candidates.to(device)


@given(
    st.lists(st.integers(0, SHAPE.events), min_size=3, max_size=3),
    st.sampled_from([{}, {"mlp": "swiglu"}, {"positions": "none"}, {"attention_gate": True}]),
    st.integers(0, 2**32),
)
@settings(max_examples=30)
@torch.no_grad()
def test_padded_requests_score_as_jagged_ones(lengths, variant, seed):
    torch.manual_seed(seed)
    dcat, batch = make_dcat(**variant), random_batch(lengths)
    torch.testing.assert_close(FixedDCAT(dcat, SHAPE)(*batch), jagged(dcat, *batch), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_no_step_waits_for_a_number():
    # Without a device there is no graph to capture; but a tensor without values shows where a value is read.
    with torch.device("meta"):
        dcat, batch = make_dcat(), random_batch(device="meta")
        assert FixedDCAT(dcat, SHAPE)(*batch).shape == batch[2].shape
        with pytest.raises(RuntimeError, match="cannot repeat_interleave a meta tensor without output_size"):
            dcat.encode_context(batch[0].flatten(0, 1), batch[1])


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 250, 4), r"events \(250\) must be a multiple of 8; pad to 256"),
        ((0, 8, 4), r"requests \(0\) must be at least 1"),
        ((3, 0, 4), r"events \(0\) must be at least 1"),
        ((1, 8, 0), r"candidates \(0\) must be at least 1"),
    ],
)
def test_shapes_that_kernels_do_not_take_are_refused(shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        FixedDCAT(make_dcat(), FixedShape(*shape))


@pytest.mark.parametrize(("place", "name"), [(0, "events"), (1, "lengths"), (2, "candidates")])
def test_a_batch_of_another_shape_is_refused(place, name):
    batch = list(random_batch())
    batch[place] = batch[place][:1]
    with pytest.raises(ValueError, match=rf"{name} are \(1, ?.*\), the shape asks for \(3, ?.*\); pad them to it"):
        FixedDCAT(make_dcat(), SHAPE)(*batch)


def test_a_graph_wants_a_module_on_a_gpu():
    with pytest.raises(ValueError, match=r"on a CUDA device, without dropout; call cuda\(\) and eval\(\)"):
        GraphedDCAT(make_dcat(), SHAPE)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)])
@torch.no_grad()
def test_the_graph_gives_what_a_cpu_gives(dtype, tolerance):
    dcat = make_dcat().to(dtype)
    on_cpu = copy.deepcopy(dcat).float()
    graphed = GraphedDCAT(dcat.cuda(), SHAPE)
    for lengths in ((5, 0, 8), (8, 8, 8), (1, 2, 3)):
        events, lengths_U, candidates = random_batch(lengths)
        events, candidates = events.to(dtype), candidates.to(dtype)
        found = graphed(events.cuda(), lengths_U.cuda(), candidates.cuda()).cpu().float()
        expected = jagged(on_cpu, events.float(), lengths_U, candidates.float())
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()
