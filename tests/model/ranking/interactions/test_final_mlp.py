"""FinalMLP against its formula."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.parts.fields import FieldShape


def stream(x_NFD, context_ND, gate, layers):
    """2 sigmoid(gate(context)) scales the numbers of all vectors; then two layers with ReLU."""
    (hidden, _, out), x = gate.layers, x_NFD.flatten(1)
    gates = (context_ND @ hidden.weight.T + hidden.bias).relu() @ out.weight.T + out.bias
    x = x * 2 / (1 + (-gates).exp())
    for layer in layers:
        x = (x @ layer.weight.T + layer.bias).relu()
    return x


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 3, 4), FieldShape(2, 0, 4), FieldShape(0, 1, 4)])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_two_gated_streams_meet_in_bilinear_products(heads, shape):
    def reference(form, x_NFD):
        first = stream(x_NFD, x_NFD[:, 0], form.first_gate, [form.first.linear, form.first_rest[1]])
        second = stream(x_NFD, x_NFD[:, -1], form.second_gate, [form.second.linear, form.second_rest[1]])
        products = []
        for columns, head in zip(torch.arange(12).chunk(heads), form.heads, strict=True):
            products.append((first[:, columns] @ head.weight.T) * second[:, columns])
            # Summed, they are the bilinear form of the paper's logit.
            bilinear = torch.einsum("ni,ij,nj->n", second[:, columns], head.weight, first[:, columns])
            torch.testing.assert_close(products[-1].sum(1), bilinear)
        return torch.cat([first, second, *products], dim=1)

    assert_is({"form": "final_mlp", "width": 12, "heads": heads}, reference, shape)


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(1, 9, 8)])
@pytest.mark.parametrize(("width", "heads"), [(256, 2), (12, 3)])
def test_parameters_are_those_of_gates_streams_and_heads(width, heads, shape):
    form = built({"form": "final_mlp", "width": width, "heads": heads}, shape)
    gate = 64 * shape.dim + 64 + 65 * shape.width()
    of_stream = shape.width() * width + width + width**2 + width
    expected = 2 * gate + 2 * of_stream + width**2 // heads
    assert sum(weight.numel() for weight in form.parameters()) == expected


def test_heads_share_the_width_of_the_streams_evenly():
    sentence = r"^ranker\.interaction\.heads \(3\) must divide ranker\.interaction\.width \(256\); try 2 or 4\.$"
    with pytest.raises(UserError, match=sentence):
        built({"form": "final_mlp", "heads": 3})


def test_single_numbers_have_no_context():
    with pytest.raises(
        UserError, match=r"^ranker\.interaction: final_mlp reads feature vectors, but what stands before"
    ):
        built({"stacked": ["dot", "final_mlp"]})
