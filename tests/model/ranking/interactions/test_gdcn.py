"""The gated cross network against its formula."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is

from pinfm.model.ranking.interactions.build import build_interaction
from pinfm.model.ranking.interactions.parts.fields import FieldShape


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 2, 4), FieldShape(2, 0, 4), FieldShape(0, 6, 1)])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_gate_scales_each_number_of_a_cross(layers, shape):
    def reference(form, x_NFD):
        x = x_0 = x_NFD.flatten(1)
        pairs = [
            (form.first_cross.linear, form.first_gate.linear),
            *((later.cross, later.gate) for later in form.later),
        ]
        assert len(pairs) == layers
        for cross, gate in pairs:
            crossed = x_0 * (x @ cross.weight.T + cross.bias)
            x = crossed / (1 + torch.exp(-x @ gate.weight.T)) + x
        return x

    assert_is({"form": "gdcn", "layers": layers}, reference, shape)


def test_parameters_are_as_many_as_it_says():
    layers, W = 3, SHAPE.width()
    form = build_interaction({"form": "gdcn", "layers": layers}, SHAPE)
    assert sum(weight.numel() for weight in form.parameters()) == layers * (2 * W**2 + W)
