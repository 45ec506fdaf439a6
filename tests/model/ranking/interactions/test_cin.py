"""CIN against a loop over pairs of vectors, and its weighted sums of products against the products."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built
from model_fakes import assert_same_gradients, gradients

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.parts import pair_products
from pinfm.model.ranking.interactions.parts.fields import FieldShape


@pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 3, 4), FieldShape(2, 0, 4), FieldShape(1, 1, 2)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_maps_are_weighted_sums_of_products_with_the_input(layers, shape):
    def reference(form, x_0):
        x, pooled = x_0, []
        assert len(form.layers) == layers
        for layer in form.layers:
            pairs = [x[:, i] * x_0[:, j] for i in range(x.size(1)) for j in range(x_0.size(1))]
            x = torch.stack([sum(w * pair for w, pair in zip(row, pairs, strict=True)) for row in layer.weight], dim=1)
            pooled.append(x.sum(2))
        return torch.cat(pooled, dim=1)

    assert_is({"form": "cin", "layers": layers, "maps": 3}, reference, shape)


@pytest.mark.parametrize("layers", [1, 3])
def test_parameters_grow_with_the_square_of_the_vectors(layers):
    for shape, maps in ((FieldShape(3, 2, 4), 6), (FieldShape(1, 9, 8), 5)):
        form, count = built({"form": "cin", "layers": layers, "maps": maps}, shape), shape.vectors()
        expected = count**2 * maps + (layers - 1) * count * maps**2
        assert sum(weight.numel() for weight in form.parameters()) == expected


@pytest.mark.parametrize("held", [1, 40, 1 << 20])
def test_products_are_made_block_by_block(monkeypatch, held):
    monkeypatch.setattr(pair_products, "HELD", held)
    x, y, weight = (
        torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in [(5, 7, 3), (5, 7, 4), (2, 3, 4)]
    )
    actual, expected = pair_products.pair_products(x, y, weight), torch.einsum("abi,abj,oij->abo", x, y, weight)
    torch.testing.assert_close(actual, expected)
    to, inputs = torch.randn_like(expected), {"x": x, "y": y, "weight": weight}
    assert_same_gradients(gradients((actual * to).sum(), inputs), gradients((expected * to).sum(), inputs), 1e-9)


def test_only_one_block_of_products_is_held(monkeypatch):
    monkeypatch.setattr(pair_products, "HELD", 40)
    made = []
    products = pair_products.products
    monkeypatch.setattr(pair_products, "products", lambda x, y: made.append(products(x, y).numel()) or products(x, y))
    x, y, weight = (torch.randn(*size, requires_grad=True) for size in [(5, 10, 3), (5, 10, 4), (2, 3, 4)])
    pair_products.pair_products(x, y, weight).sum().backward()
    assert max(made) == 36
    assert sum(made) == 2 * 50 * 12


def test_products_run_in_the_type_of_autocast():
    x, y, weight = (torch.randn(*size, requires_grad=True) for size in [(5, 10, 3), (5, 10, 4), (2, 3, 4)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums = pair_products.pair_products(x, y, weight)
    assert sums.dtype == torch.bfloat16
    sums.float().sum().backward()
    exact = torch.einsum("abi,abj->ij", x, y).expand_as(weight)
    torch.testing.assert_close(weight.grad, exact, rtol=0.05, atol=0.2)


def test_single_numbers_have_no_maps():
    with pytest.raises(UserError, match=r"^ranker\.interaction: cin reads feature vectors, but what stands before it"):
        built({"stacked": ["dot", "cin"]})
