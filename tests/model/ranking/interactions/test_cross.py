"""DCNv2 against its formula."""

import pytest
import torch
from interaction_fakes import assert_is


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_full_rank_layers_multiply_the_input_by_an_affine_map(layers):
    def reference(form, x_NFD):
        x = x_0 = x_NFD.flatten(1)
        linears = [form.first.linear, *form.later]
        assert len(linears) == layers
        for linear in linears:
            x = x_0 * (x @ linear.weight.T + linear.bias) + x
        return x

    assert_is({"form": "dcn_v2_full_rank", "layers": layers}, reference)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_low_rank_layers_are_full_ones_whose_matrix_is_a_product(layers):
    def reference(form, x_NFD):
        x = x_0 = x_NFD.flatten(1)
        downs = [form.first.linear, *form.downs]
        assert len(downs) == len(form.ups) == layers
        for down, up in zip(downs, form.ups, strict=True):
            matrix = up.weight @ down.weight
            assert torch.linalg.matrix_rank(matrix) == 2
            x = x_0 * (x @ matrix.T + up.bias) + x
        return x

    assert_is({"form": "dcn_v2_low_rank", "layers": layers, "rank": 2}, reference)
