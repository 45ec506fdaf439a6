"""DCNv2 against its formula."""

import pytest
import torch
from interaction_fakes import BATCHES, SHAPE, assert_is, built, numbers, random_fields


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


@pytest.mark.parametrize("layers", [2, 4])
def test_what_many_candidates_of_a_request_share_is_scripted_and_runs_under_autocast(layers):
    form = built({"form": "dcn_v2_low_rank", "layers": layers, "rank": 2})
    lengths = BATCHES["many"]
    assert sum(lengths) > form.many * len(lengths)  # else each candidate goes its own way
    fields = random_fields(lengths)
    torch.testing.assert_close(numbers(torch.jit.script(form)(fields)), numbers(form(fields)))
    form, fields = form.float(), random_fields(lengths, dtype=torch.float32)
    exact = numbers(form(fields))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = numbers(form(fields))
    assert (given - exact).norm() <= 0.02 * exact.norm()


@pytest.mark.parametrize("layers", [1, 3])
def test_parameters_are_as_many_as_it_says(layers):
    W, rank = SHAPE.width(), 5
    for value, of_layer in (
        ({"form": "dcn_v2_full_rank", "layers": layers}, W**2 + W),
        ({"form": "dcn_v2_low_rank", "layers": layers, "rank": rank}, 2 * W * rank + W),
    ):
        assert sum(weight.numel() for weight in built(value).parameters()) == layers * of_layer
