"""The low-rank mixture of DCNv2 against its formula."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.build import build_interaction
from pinfm.model.ranking.interactions.parts.fields import FieldShape


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 2, 4), FieldShape(2, 0, 4), FieldShape(0, 6, 1)])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_layer_is_a_gated_sum_of_low_rank_crosses(layers, shape):
    experts, rank = 3, 2

    def reference(form, x_NFD):
        x = x_0 = x_NFD.flatten(1)
        parts = [(form.first_down.linear, form.first_experts), *form.later]
        assert len(parts) == layers
        for linear, mixture in parts:
            gates = torch.exp(x @ linear.weight[experts * rank :].T)
            crossed = torch.zeros_like(x)
            for e in range(experts):
                own = slice(e * rank, (e + 1) * rank)
                hidden = torch.tanh(torch.tanh(x @ linear.weight[own].T) @ mixture.within_EKK[e].T)
                cross = x_0 * (hidden @ mixture.up.weight[:, own].T + mixture.up.bias)
                crossed = crossed + gates[:, e : e + 1] / gates.sum(dim=1, keepdim=True) * cross
            x = crossed + x
        return x

    assert_is({"form": "dcn_v2_mixture", "layers": layers, "rank": rank, "experts": experts}, reference, shape)


def test_parameters_are_as_many_as_it_says():
    layers, rank, experts, W = 3, 5, 2, SHAPE.width()
    form = build_interaction({"form": "dcn_v2_mixture", "layers": layers, "rank": rank, "experts": experts}, SHAPE)
    expected = layers * (W * (experts * (2 * rank + 1) + 1) + experts * rank**2)
    assert sum(weight.numel() for weight in form.parameters()) == expected


def test_one_expert_has_no_gate():
    sentence = r"^ranker\.interaction\.experts \(1\) must be at least 2; for one, take dcn_v2_low_rank\.$"
    with pytest.raises(UserError, match=sentence):
        build_interaction({"form": "dcn_v2_mixture", "experts": 1}, SHAPE)
