"""WuKong against its formula."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built, normalised

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.parts.fields import FieldShape


# Five vectors become eight, then eight; or six stay six, of requests alone, candidates alone, a single one.
@pytest.mark.parametrize(
    ("layers", "vectors", "shape"),
    [(1, 4, SHAPE), (3, 4, SHAPE), (2, 3, (3, 3, 4)), (2, 2, (0, 3, 4)), (2, 2, (3, 0, 4)), (1, 1, (0, 1, 2))],
)
def test_a_layer_is_a_factorisation_machine_beside_a_linear_path(layers, vectors, shape):
    def machine(block, x):
        products = torch.einsum("nfd,ngd,kg->nfk", x, x, block.sums.linear.weight)
        first, _, _, last = block.mlp
        hidden = torch.nn.functional.gelu(normalised(products.flatten(1), block.norm) @ first.weight.T + first.bias)
        return (hidden @ last.weight.T + last.bias).view(len(x), vectors, x.size(2))

    def reference(form, x):
        assert len(form.layers) == layers
        for layer in form.layers:
            residual = x
            if x.size(1) != 2 * vectors:
                residual = torch.einsum("nfd,vf->nvd", x, layer.end.shortcut.linear.weight)
            linear = torch.einsum("nfd,vf->nvd", x, layer.linear.linear.weight)
            x = normalised(torch.cat([machine(layer.machine, x), linear], dim=1) + residual, layer.end.norm)
        return x.flatten(1)

    settings = {"layers": layers, "rank": 3, "vectors": vectors, "width": 6}
    assert_is({"form": "wukong", **settings}, reference, FieldShape(*shape))


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 5, 4)])
def test_parameters(shape):
    layers, rank, vectors, width, dim = 2, 3, 4, 6, 4

    def of_layer(count):
        block = 3 * count * rank + (count * rank + 1) * width + (width + 1) * vectors * dim
        return block + count * vectors + 2 * dim + (count != 2 * vectors) * 2 * count * vectors

    settings = {"layers": layers, "rank": rank, "vectors": vectors, "width": width}
    form = built({"form": "wukong", **settings}, FieldShape(*shape))
    assert sum(weight.numel() for weight in form.parameters()) == of_layer(sum(shape[:2])) + of_layer(2 * vectors)


def test_single_numbers_have_no_products():
    with pytest.raises(UserError, match=r"^ranker\.interaction: wukong reads feature vectors, but what stands before"):
        built("wukong", FieldShape(0, 8, 1))
