"""MLP shapes, and heads of length 1."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from pinfm.model.layers.mlp import MLP, NormalizedMLP, SwiGLU, feed_forward


@pytest.mark.parametrize("widths", [[3, 2], [3, 5, 2], [3, 5, 7, 2]])
def test_mlp_puts_an_activation_between_layers_and_none_after_the_last(widths):
    mlp = MLP(widths, dropout=0.5)
    linears = [layer for layer in mlp if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == list(pairwise(widths))
    assert isinstance(mlp[-1], nn.Linear)
    x = torch.randn(4, 3)
    expected = x
    for layer in linears[:-1]:
        expected = nn.functional.gelu(layer(expected))
    torch.testing.assert_close(mlp.eval()(x), linears[-1](expected))


def test_normalized_mlp_gives_directions():
    head = NormalizedMLP(4, 6)
    x = 100 * torch.randn(2, 5, 4)
    torch.testing.assert_close(head(x).norm(dim=-1), torch.ones(2, 5))
    torch.testing.assert_close(head(x) * head.mlp(x).norm(dim=-1, keepdim=True), head.mlp(x))


def test_swiglu_is_a_gated_product_with_as_many_weights_as_the_plain_layer():
    layer, x = SwiGLU(24), torch.randn(5, 24)
    gate, value = (layer.gate_and_value.weight @ x.T + layer.gate_and_value.bias[:, None]).T.split(64, dim=1)
    hidden = gate / (1 + torch.exp(-gate)) * value
    torch.testing.assert_close(layer(x), hidden @ layer.out.weight.T + layer.out.bias)
    weights = [sum(w.numel() for w in feed_forward(kind, 240).parameters()) for kind in ("gelu", "swiglu")]
    assert weights[1] == pytest.approx(weights[0], rel=0.01)
