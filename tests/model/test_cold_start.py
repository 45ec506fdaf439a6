"""What keeps new items working: random ids, dropout by age, content."""

import pytest
import torch

from pinfm.model.cold_start import ContentFusion, ItemAgeDropout, NoContent, candidate_id_randomization
from pinfm.model.item_ages import AgeThresholds

DAY = 86_400


def randomized(ids, probability, seed):
    return candidate_id_randomization(ids, probability, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_ids_are_replaced_with_the_given_probability(probability):
    ids = torch.arange(20_000)
    replaced = randomized(ids, probability, seed=1) != ids
    assert replaced.float().mean() == pytest.approx(probability, abs=0.02)
    # No part of the batch is favoured.
    assert replaced[:5000].float().mean() == pytest.approx(probability, abs=0.04)
    assert replaced[15_000:].float().mean() == pytest.approx(probability, abs=0.04)


def test_other_ids_and_the_input_are_left_alone():
    ids = torch.arange(5000)
    before = ids.clone()
    result = randomized(ids, 0.3, seed=2)
    assert torch.equal(ids, before)
    # A random int64 is far from small ids, so what stayed small must have stayed the same.
    small = result.abs() < 2**40
    assert torch.equal(result[small], ids[small])
    assert 3000 < small.sum() < 4000
    assert torch.equal(randomized(ids, 0.0, seed=2), ids)


def test_random_ids_cover_the_whole_int64_range():
    result = randomized(torch.zeros(20_000, dtype=torch.int64), 0.9, seed=3)
    random_ids = result[result != 0]
    assert random_ids.unique().numel() == random_ids.numel()
    quarters = torch.bucketize(random_ids, torch.tensor([-(2**62), 0, 2**62]))
    shares = torch.bincount(quarters, minlength=4) / random_ids.numel()
    assert (shares - 0.25).abs().max() < 0.02


def test_the_generator_decides():
    ids = torch.arange(1000)
    assert torch.equal(randomized(ids, 0.3, seed=4), randomized(ids, 0.3, seed=4))
    assert not torch.equal(randomized(ids, 0.3, seed=4), randomized(ids, 0.3, seed=5))


@pytest.mark.parametrize(
    ("age", "probability"),
    [(-DAY, 0.7), (0, 0.7), (7 * DAY - 1, 0.7), (7 * DAY, 0.5), (28 * DAY - 1, 0.5), (28 * DAY, 0.0), (900 * DAY, 0.0)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_depends_on_the_items_age(age, probability, dtype, device):
    dropout = ItemAgeDropout(0.7, 0.5).train()
    x = torch.full((2000, 10), 3.0, dtype=dtype, device=device)
    dropped = dropout(x, torch.full([2000], age, device=device))
    assert float((dropped == 0).float().mean()) == pytest.approx(probability, abs=0.02)
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 3.0 / (1 - probability)))
    assert float(dropped.float().mean()) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize(
    ("age", "probability"), [(3599, 0.7), (3600, 0.5), (14_399, 0.5), (14_400, 0.0), (6 * DAY, 0.0)]
)
def test_dropout_goes_by_the_thresholds_of_the_log(age, probability):
    dropout = ItemAgeDropout(0.7, 0.5, AgeThresholds(3600, 14_400)).train()
    dropped = dropout(torch.ones(2000, 10), torch.full([2000], age)) == 0
    assert float(dropped.float().mean()) == pytest.approx(probability, abs=0.02)


def test_dropout_draws_each_entry_anew():
    dropout = ItemAgeDropout(0.5, 0.5).train()
    kept = dropout(torch.ones(200, 50), torch.zeros(200, dtype=torch.int64)) != 0
    assert 0.3 < kept.float().mean(0).min() < kept.float().mean(0).max() < 0.7
    assert 0.2 < kept.float().mean(1).min() < kept.float().mean(1).max() < 0.8


def test_dropout_is_the_identity_in_evaluation():
    x = torch.randn(5, 3)
    assert torch.equal(ItemAgeDropout(0.7, 0.5).eval()(x, torch.zeros(5, dtype=torch.int64)), x)


def test_content_is_normalised_projected_and_added():
    fusion = ContentFusion(content_dim=3, item_dim=4)
    items, content = torch.randn(5, 4), torch.randn(5, 3)
    expected = torch.stack(
        [item + fusion.projection.weight @ (c / c.norm()) for item, c in zip(items, content, strict=True)]
    )
    torch.testing.assert_close(fusion(items, content), expected)
    torch.testing.assert_close(fusion(items, 10 * content), expected)


def test_no_content_adds_nothing():
    items = torch.randn(4, 6)
    fusion = ContentFusion(content_dim=3, item_dim=6)
    content = torch.randn(4, 3)
    content[1] = 0.0
    assert torch.equal(fusion(items, content)[1], items[1])
    assert torch.equal(NoContent()(items, content), items)
    assert NoContent().alignment_loss(items, content).item() == 0.0


def test_alignment_is_one_minus_the_cosine_over_items_with_content():
    fusion = ContentFusion(content_dim=3, item_dim=4)
    items, content = torch.randn(6, 4), torch.randn(6, 3)
    content[[0, 3]] = 0.0
    cosines = []
    for item, c in zip(items, content, strict=True):
        if c.any():
            projected = fusion.projection.weight @ c
            cosines.append(projected @ item / projected.norm() / item.norm())
    assert len(cosines) == 4
    torch.testing.assert_close(fusion.alignment_loss(items, content), 1 - sum(cosines) / 4)


def test_alignment_trains_the_projection_and_not_the_ids():
    fusion = ContentFusion(content_dim=3, item_dim=4)
    items = torch.randn(6, 4, requires_grad=True)
    loss = fusion.alignment_loss(items, torch.randn(6, 3))
    item_gradient, weight_gradient = torch.autograd.grad(loss, (items, fusion.projection.weight), allow_unused=True)
    assert item_gradient is None
    assert weight_gradient.abs().max() > 0


def test_alignment_without_any_content_is_zero_with_zero_gradients():
    fusion = ContentFusion(content_dim=3, item_dim=4)
    loss = fusion.alignment_loss(torch.randn(2, 4), torch.zeros(2, 3))
    assert loss.item() == 0.0
    (gradient,) = torch.autograd.grad(loss, fusion.projection.weight)
    assert not gradient.any()


def test_fused_content_reaches_projection_and_ids():
    fusion = ContentFusion(content_dim=3, item_dim=4)
    items = torch.randn(2, 4, requires_grad=True)
    fusion(items, torch.randn(2, 3)).sum().backward()
    assert torch.equal(items.grad, torch.ones(2, 4))
    assert fusion.projection.weight.grad.any()
