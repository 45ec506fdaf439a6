"""AutoInt and the transformer against loops over heads and pairs."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built, normalised
from torch.nn import functional

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.parts.fields import FieldShape

SETTINGS = [(1, 1), (1, 2), (2, 2), (3, 4)]


def heads_of(x_NFD, weight_PD, heads, scale):
    """Attention with the three maps in the rows of `weight_PD`, one head and one vector after the other."""
    dim = x_NFD.size(2)
    query, key, value = (x_NFD @ weight_PD[first : first + dim].T for first in (0, dim, 2 * dim))
    attended = []
    for columns in torch.arange(dim).chunk(heads):
        rows = []
        for i in range(x_NFD.size(1)):
            scores = [scale * (query[:, i, columns] * key[:, j, columns]).sum(1) for j in range(x_NFD.size(1))]
            weights_NF = torch.stack(scores, dim=1).softmax(dim=1)
            rows.append((weights_NF[:, :, None] * value[:, :, columns]).sum(1))
        attended.append(torch.stack(rows, dim=1))
    return torch.cat(attended, dim=2)


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 3, 4), FieldShape(2, 0, 4), FieldShape(0, 1, 4)])
@pytest.mark.parametrize(("layers", "heads"), SETTINGS)
def test_autoint_adds_what_each_vector_attends_to_and_a_map_of_itself(layers, heads, shape):
    def reference(form, x_NFD):
        assert len(form.layers) == layers
        for layer in form.layers:
            weight = layer.projection.weight
            x_NFD = (heads_of(x_NFD, weight, heads, 1.0) + x_NFD @ weight[3 * x_NFD.size(2) :].T).relu()
        return x_NFD.flatten(1)

    assert_is({"form": "autoint", "layers": layers, "heads": heads}, reference, shape)


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 3, 4), FieldShape(2, 0, 4), FieldShape(0, 1, 4)])
@pytest.mark.parametrize(("layers", "heads"), SETTINGS)
def test_a_transformer_norms_before_each_half_and_at_the_end(layers, heads, shape):
    def reference(form, x):
        assert len(form.layers) == layers
        for layer in form.layers:
            weight, (up, _, down) = layer.query_key_value.weight, layer.mlp
            attended = heads_of(normalised(x, layer.attention_norm), weight, heads, (x.size(2) / heads) ** -0.5)
            x = x + attended @ layer.attention_out.weight.T + layer.attention_out.bias
            hidden = functional.gelu(normalised(x, layer.mlp_norm) @ up.weight.T + up.bias)
            x = x + hidden @ down.weight.T + down.bias
        return normalised(x, form.norm).flatten(1)

    assert_is({"form": "transformer", "layers": layers, "heads": heads}, reference, shape)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ({"form": "autoint", "layers": 3}, lambda width: 3 * 4 * width**2),
        ({"form": "transformer", "layers": 3}, lambda width: 3 * (12 * width**2 + 10 * width) + 2 * width),
    ],
)
def test_parameters_depend_on_the_width_alone(value, count):
    for shape in (FieldShape(3, 2, 4), FieldShape(1, 9, 8)):
        assert sum(weight.numel() for weight in built(value, shape).parameters()) == count(shape.dim)


@pytest.mark.parametrize("name", ["autoint", "transformer"])
def test_single_numbers_do_not_attend(name):
    with pytest.raises(UserError, match=rf"^ranker\.interaction: {name} reads feature vectors, but what stands before"):
        built({"stacked": ["dot", name]})


@pytest.mark.parametrize("name", ["autoint", "transformer"])
@pytest.mark.parametrize(
    ("heads", "dim", "mend"), [(3, 16, "try 2 or 4"), (5, 7, "try 1 or 7"), (32, 16, "try 16"), (2, 9, "try 1 or 3")]
)
def test_heads_share_the_width_evenly(name, heads, dim, mend):
    sentence = (
        rf"^ranker\.interaction\.heads \({heads}\) must divide the width of a feature vector \({dim}\); .*{mend}\.$"
    )
    with pytest.raises(UserError, match=sentence):
        built({"form": name, "heads": heads}, FieldShape(3, 2, dim))
