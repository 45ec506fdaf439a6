"""DHEN against its formula."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built, normalised

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.parts.fields import FieldShape


# Five vectors become six, then six; three stay three, of requests alone, candidates alone; a single one becomes three.
@pytest.mark.parametrize(
    ("layers", "vectors", "shape"),
    [(1, 2, SHAPE), (3, 2, SHAPE), (2, 1, (0, 3, 4)), (2, 1, (3, 0, 4)), (1, 1, (0, 1, 2))],
)
def test_a_layer_is_three_interactions_beside_each_other(layers, vectors, shape):
    def sums(x, linear):
        return torch.einsum("nfd,vf->nvd", x, linear.weight)

    def dot(layer, x):
        pairs = [(x[:, i] * x[:, j]).sum(1, keepdim=True) for i in range(x.size(1)) for j in range(i + 1, x.size(1))]
        linear = layer.of_dot
        given = torch.cat([x.flatten(1), *pairs], dim=1) @ linear.weight.T + linear.bias
        return given.view(len(x), vectors, x.size(2))

    def cross(layer, x):
        linear, flat = layer.cross.first.linear, x.flatten(1)
        crossed = flat * (flat @ linear.weight.T + linear.bias) + flat
        return sums(crossed.view_as(x), layer.of_cross.linear)

    def reference(form, x):
        assert len(form.layers) == layers
        for layer in form.layers:
            same = x.size(1) == 3 * vectors
            shortcut = x if same else sums(x, layer.end.shortcut.linear)
            given = torch.cat([dot(layer, x), cross(layer, x), sums(x, layer.linear.linear)], dim=1)
            x = normalised(given + shortcut, layer.end.norm)
        return x.flatten(1)

    assert_is({"form": "dhen", "layers": layers, "vectors": vectors}, reference, FieldShape(*shape))


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 3, 4)])
def test_parameters(shape):
    vectors, dim = 2, 4

    def of_layer(count):
        dot = (count * dim + count * (count - 1) // 2 + 1) * vectors * dim
        cross = (count * dim) ** 2 + count * dim
        return dot + cross + 2 * count * vectors + 2 * dim + (count != 3 * vectors) * 3 * count * vectors

    form = built({"form": "dhen", "layers": 2, "vectors": vectors}, FieldShape(*shape))
    assert sum(weight.numel() for weight in form.parameters()) == of_layer(sum(shape[:2])) + of_layer(3 * vectors)


def test_single_numbers_have_no_products():
    with pytest.raises(UserError, match=r"^ranker\.interaction: dhen reads feature vectors, but what stands before it"):
        built("dhen", FieldShape(0, 8, 1))
