"""Rotary positions."""

import pytest
import torch
from model_fakes import plain_dcat
from reference import rotary

from pinfm.model.layers.transformer import RotaryPositions, rotate


@pytest.mark.parametrize("head_dim", [2, 4, 32])
def test_rotation_follows_its_definition(head_dim):
    x = torch.randn(500, head_dim)
    rotated = rotate(x[:, None], RotaryPositions(head_dim)(torch.arange(500)))[:, 0]
    torch.testing.assert_close(rotated.double(), rotary(x.double()), rtol=1e-4, atol=1e-4)


def test_inner_products_depend_on_distances_alone():
    query, key = torch.randn(2, 16, dtype=torch.float64)

    def product(at, other):
        angles = RotaryPositions(16)(torch.tensor([at, other]))
        turned = rotate(torch.stack([query, key])[:, None], angles)
        return (turned[0] * turned[1]).sum().item()

    assert product(3, 1) == pytest.approx(product(103, 101), abs=1e-4)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-2)


def test_keys_and_queries_turn_and_values_do_not():
    dcat = plain_dcat(num_layers=1, dim=8, num_heads=2)
    row = torch.randn(8)
    context = dcat.encode_context(row.expand(3, 8), torch.tensor([3]))
    keys, values = context.keys[0], context.values[0]
    torch.testing.assert_close(values[0], values[2])
    assert (keys[0] - keys[2]).abs().max() > 1e-2
