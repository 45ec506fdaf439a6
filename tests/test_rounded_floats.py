"""The watch over rounded floats sees what it is to see, and no more."""

import pytest
import torch
from rounded_floats import RoundedFloats

GAPS = torch.arange(10)


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (lambda gaps: (2.0 * torch.log2(1.0 + gaps.double())).long(), "_to_copy"),
        (lambda gaps: gaps.double() / 86_400 < 7, "lt"),
        (lambda gaps: gaps.masked_fill(gaps.float().exp().clamp(max=5.0) > 3, 0), "gt"),
        (lambda gaps: bool(gaps.double().sum() > 1), "gt"),
        (lambda gaps: (gaps[:, None].float() @ gaps[None, :].float()).argmax(), "argmax"),
    ],
)
def test_whole_numbers_of_rounded_floats_are_seen(step, name):
    with RoundedFloats() as watched:
        step(GAPS)
    assert {found for found, _ in watched.found} == {name}


@pytest.mark.parametrize(
    "step",
    [
        lambda gaps: gaps.double().abs()[gaps > 3] < 7,
        lambda gaps: torch.frexp(gaps.double())[1],
        lambda gaps: torch.log2(1.0 + gaps.double()),
        lambda gaps: torch.ones_like(torch.log2(1.0 + gaps.double())) == 0,
        lambda gaps: gaps * 7 // 3,
    ],
)
def test_what_is_exact_passes(step):
    with RoundedFloats() as watched:
        step(GAPS)
    assert watched.found == set()


def test_gradients_are_left_out():
    weight = torch.tensor([0.5, 2.0], requires_grad=True)
    with RoundedFloats() as watched:
        (weight * 3.0).clamp(max=2.0).sum().backward()
    assert watched.found == set()
