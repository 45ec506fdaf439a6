"""Interactions against loops and formulas."""

import pytest
import torch
from model_fakes import roughen

from pinfm.model.ranking.interactions import CrossInteraction, CrossLayer, DotInteraction


@pytest.mark.parametrize("num_features", [1, 2, 5])
def test_dot_gives_the_vectors_and_every_pair_once(num_features):
    x = torch.randn(3, num_features, 4)
    arch = DotInteraction(num_features, 4)
    rows = []
    for vectors in x:
        pairs = [vectors[i] @ vectors[j] for i in range(num_features) for j in range(i + 1, num_features)]
        rows.append(torch.cat([*vectors, torch.tensor(pairs)]))
    assert arch.out_dim == len(rows[0])
    torch.testing.assert_close(arch(x), torch.stack(rows))


def test_a_cross_layer_is_x0_times_an_affine_map_plus_x():
    layer = roughen(CrossLayer(6, 2))
    x_0, x = torch.randn(2, 5, 6)
    weight = layer.up.weight @ layer.down.weight
    assert torch.linalg.matrix_rank(weight) == 2
    expected = torch.stack([a * (weight @ b + layer.up.bias) + b for a, b in zip(x_0, x, strict=True)])
    torch.testing.assert_close(layer(x_0, x), expected)


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_cross_stacks_layers_over_the_same_input_and_keeps_it(num_layers):
    arch = roughen(CrossInteraction(3, 4, num_layers, rank=2))
    x = torch.randn(5, 3, 4)
    x_0 = x.reshape(5, 12)
    crossed = x_0
    for layer in arch.layers:
        crossed = x_0 * layer.up(layer.down(crossed)) + crossed
    assert arch.out_dim == 24
    assert len(arch.layers) == num_layers
    torch.testing.assert_close(arch(x), torch.cat([x_0, crossed], dim=1))


@pytest.mark.parametrize("arch", [DotInteraction(3, 4), CrossInteraction(3, 4, 2, rank=2)])
def test_no_candidates_give_no_rows(arch):
    assert arch(torch.zeros(0, 3, 4)).shape == (0, arch.out_dim)
