"""Packed layers: what they compute once they are loaded, whatever stands beside a row and however large it is."""

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pinfm.inference.dense.pack import packed_names
from pinfm.inference.dense.packed import BYTES, FLOATS, FloatLinear, Int8Linear, Levels, bytes_are_exact

LEVELS = Levels.between(-2.0, 3.0)


def loaded(layer):
    """The layer frozen, saved and loaded, as hosts have it."""
    module = nn.Sequential(*layer if isinstance(layer, nn.Sequential) else [layer]).eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(module), preserved_attrs=packed_names(module)), file)
    file.seek(0)
    return torch.jit.load(file)


def plainly(linear, x, gelu):
    """In float64 what a layer in eight bits stands for."""
    weight = linear.weight.double()
    scale = weight.abs().amax(1, keepdim=True) / 127
    levels = (torch.arange(256, dtype=torch.float64) - LEVELS.zero) * LEVELS.step
    nearest = levels[(x.double()[..., None] - levels).abs().argmin(-1)]
    out = nearest @ (torch.round(weight / scale) * scale).T + linear.bias.double()
    return nn.functional.gelu(out) if gelu else out


@pytest.mark.parametrize("gelu", [False, True])
def test_a_packed_layer_gives_what_its_levels_stand_for(gelu):
    linear, x = nn.Linear(48, 40), torch.randn(33, 48)
    layer = Int8Linear(linear, LEVELS, gelu)
    packed = loaded(layer)
    assert next(packed.children()).form == (BYTES if bytes_are_exact(40, 48) else FLOATS)
    for form in (layer, packed):
        torch.testing.assert_close(form(x).double(), plainly(linear, x, gelu), rtol=0, atol=2e-6)


def test_layers_hand_bytes_to_each_other():
    first, last, x = nn.Linear(48, 40), nn.Linear(40, 24), torch.randn(33, 48)
    chained = nn.Sequential(Int8Linear(first, LEVELS, True, LEVELS), Int8Linear(last, LEVELS))
    apart = nn.Sequential(Int8Linear(first, LEVELS, True), Int8Linear(last, LEVELS))
    assert chained[0](x).dtype == torch.uint8
    for form in (chained, loaded(chained)):
        # Of 1,320 numbers between the two one may lie so near the middle of two levels that it is rounded otherwise.
        assert ((form(x) - apart(x)).abs() < 1e-5).float().mean() > 0.99


@pytest.mark.parametrize("gelu", [False, True])
def test_a_packed_layer_in_float32_is_the_layer(gelu):
    linear, x = nn.Linear(48, 40), torch.randn(33, 48)
    expected = nn.functional.gelu(linear(x)) if gelu else linear(x)
    for form in (FloatLinear(linear, gelu), loaded(FloatLinear(linear, gelu))):
        torch.testing.assert_close(form(x), expected, rtol=0, atol=1e-6)


def test_what_lies_outside_the_levels_is_clipped_to_their_ends():
    linear = nn.Linear(8, 5)
    ends = torch.tensor([[LEVELS.step * (255 - LEVELS.zero)], [-LEVELS.step * LEVELS.zero]]).expand(2, 8)
    for form in (Int8Linear(linear, LEVELS), loaded(Int8Linear(linear, LEVELS))):
        expected = form(ends)
        for beyond in (4.0, 1e9, 3e38, math.inf):
            torch.testing.assert_close(form(torch.tensor([[beyond], [-beyond]]).expand(2, 8)), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "make", [lambda linear: Int8Linear(linear, LEVELS, True), lambda linear: FloatLinear(linear, True)]
)
def test_a_row_has_the_same_bits_whatever_stands_beside_it(make):
    layer, x = loaded(make(nn.Linear(24, 40))), 3 * torch.randn(1000, 24)
    whole = layer(x)

    @given(st.integers(0, 999), st.sampled_from([1, 2, 3, 17, 100]) | st.integers(1, 1000))
    def same(first, count):
        assert torch.equal(layer(x[first : first + count]), whole[first : first + count])

    same()
    assert layer(x[:0]).shape == (0, 40)


def test_levels_hold_zero():
    with pytest.raises(AssertionError, match="zero must be one of the levels"):
        Levels.between(0.5, 1.0)
    assert Levels.between(0.0, 0.0).nearest(torch.tensor([0.0, 1.0])).abs().max() < 1e-10
