"""The pass of a fixed shape gives what the jagged one gives, and nothing in it waits for a number."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import plain_dcat, roughen
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

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
@settings(deadline=None, max_examples=30)
@torch.no_grad()
def test_padded_requests_score_as_jagged_ones(lengths, variant, seed):
    torch.manual_seed(seed)
    dcat, batch = make_dcat(**variant), random_batch(lengths)
    torch.testing.assert_close(FixedDCAT(dcat, SHAPE)(*batch), jagged(dcat, *batch), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_no_step_waits_for_a_number():
    # Without a device there is no graph to capture, but what a graph can't hold a fake tensor can't compute either.
    with FakeTensorMode(), torch.device("cuda"):
        dcat, batch = make_dcat(), random_batch(device="cuda")
        assert FixedDCAT(dcat, SHAPE)(*batch).shape == batch[2].shape
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            dcat.encode_context(batch[0].flatten(0, 1), batch[1])


def test_events_are_padded_as_the_kernels_want_them():
    with pytest.raises(ValueError, match=r"events \(250\) must be a multiple of 8; pad to 256"):
        FixedDCAT(make_dcat(), FixedShape(1, 250, 4))


@pytest.mark.gpu
@torch.no_grad()
def test_the_graph_gives_what_the_module_gives():
    dcat = make_dcat().cuda()
    graphed = GraphedDCAT(dcat, SHAPE)
    for lengths in ((5, 0, 8), (8, 8, 8), (1, 2, 3)):
        batch = random_batch(lengths, "cuda")
        torch.testing.assert_close(graphed(*batch), jagged(dcat, *batch), rtol=1e-4, atol=1e-4)
