"""Gap buckets: the same whole number in every form of the code, on every device, and as the float formula had it."""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import gap_bucket

from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, gap_buckets

INT64 = torch.iinfo(torch.int64)
# The first gap of each bucket b: the smallest one with (1 + gap) ** 2 >= 2 ** b.
FIRST_GAPS = [math.isqrt(2**b - 1) for b in range(1, NUM_GAP_BUCKETS)]
POWERS = [2**k + d for k in range(63) for d in (-2, -1, 0, 1)]
EDGES = sorted(
    {INT64.min, INT64.min + 1, -(2**62), -(2**32), -5, -1, 0, INT64.max - 1, INT64.max, *POWERS}
    | {first + d for first in FIRST_GAPS for d in (-2, -1, 0, 1)}
)


def scripted(gaps):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(gap_buckets), file)
    file.seek(0)
    return torch.jit.load(file)(gaps)


class Buckets(torch.nn.Module):
    def forward(self, gaps):
        return gap_buckets(gaps)


def exported(gaps):
    length = torch.export.Dim("length", min=2)
    return torch.export.export(Buckets(), (gaps,), dynamic_shapes=((length,),)).module()(gaps)


@pytest.mark.parametrize("form", [gap_buckets, scripted, exported])
def test_every_edge_is_exact_in_every_form_on_every_device(form, device):
    found = form(torch.tensor(EDGES, device=device))
    assert found.dtype == torch.int64
    assert found.device.type == device.type
    assert found.tolist() == [gap_bucket(gap) for gap in EDGES]


def test_buckets_start_where_they_say():
    for bucket, first in enumerate(FIRST_GAPS, start=1):
        assert first >= 2 ** (bucket / 2) - 1 - 1e-6
        assert gap_buckets(torch.tensor(first)) >= bucket
        assert gap_buckets(torch.tensor(first - 1)) < bucket
    assert gap_buckets(torch.tensor([-5, 0, 1, 2, 3])).tolist() == [0, 0, 2, 3, 4]


def by_logarithm(gaps):
    """The former code, which a CPU computes rightly."""
    return (2.0 * torch.log2(1.0 + gaps.clamp(min=0).double())).long().clamp(max=NUM_GAP_BUCKETS - 1)


def test_models_trained_with_the_logarithm_find_the_same_buckets():
    some = torch.cat([torch.tensor(EDGES), torch.arange(100_000), torch.randint(0, 2**33, (100_000,))])
    assert torch.equal(gap_buckets(some), by_logarithm(some))


@given(st.lists(st.integers(INT64.min, INT64.max) | st.integers(0, 2**32), min_size=1, max_size=50))
def test_any_gap_is_exact(gaps):
    assert gap_buckets(torch.tensor(gaps)).tolist() == [gap_bucket(gap) for gap in gaps]


def test_the_shape_is_kept():
    assert gap_buckets(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3)
    assert gap_buckets(torch.zeros(0, dtype=torch.int64)).shape == (0,)
