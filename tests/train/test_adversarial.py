"""Adversarial fine-tuning against the fast gradient sign method written out plainly."""

from dataclasses import replace

import pytest
import runs
import torch

from pinfm.embeddings.sharded.collections import embedding_collection
from pinfm.train.build import build_finetune, finetune_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place

CPU = torch.device("cpu")


def module_and_batch(dataset, **phase):
    """A module over whole tables of random rows, and a batch."""
    config = replace(runs.CONFIG, finetune=replace(runs.CONFIG.finetune, **phase))
    data = PreparedDataset.open(dataset)
    tables = finetune_tables(config, data.info.schema, data.info.counts.users)
    feed = request_feed(config, data, Ids(tables.item, tables.features, config.managed_ids), "train", training=True)
    module = build_finetune(config, data.info.schema, tables, CPU)
    module.item_tables = embedding_collection([tables.item], CPU)
    module.feature_tables = embedding_collection(tables.features, CPU)
    for tables in (module.item_tables, module.feature_tables):
        for weight in tables.parameters():
            torch.nn.init.normal_(weight)
    return module, next(feed.batches(0, 1))


def plain_step(module, batch, radius):
    """The clean loss, the loss on moved histories and the moved inputs, a history and a component at a time."""
    objective = module.objective
    item_VE, inputs = objective.assemble(
        batch, module.item_tables(batch.item_rows), module.feature_tables(batch.feature_rows)
    )

    def losses(item_TE):
        given = inputs._replace(item_TE=item_TE)
        return objective.losses(batch, item_VE, given, objective.model(given))

    told_TE = inputs.item_TE.detach().requires_grad_()
    losses(told_TE)[1]["ranking_loss"].backward(inputs=[told_TE])
    change_TE = torch.zeros_like(told_TE)
    start = 0
    for length in batch.history.lengths.tolist():
        components = told_TE[start : start + length].detach().flatten().tolist()
        size = (sum(x * x for x in components) / max(1, len(components))) ** 0.5
        for t in range(start, start + length):
            for e, slope in enumerate(told_TE.grad[t].tolist()):
                change_TE[t, e] = radius * size * ((slope > 0) - (slope < 0))
        start += length
    return losses(inputs.item_TE), losses(inputs.item_TE + change_TE), change_TE


@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_is_the_mean_over_the_history_and_the_moved_one(group, dataset, frozen):
    module, batch = module_and_batch(dataset, adversarial_radius=0.3, freeze_tower=frozen)
    (clean, parts), (moved, moved_parts), change_TE = plain_step(module, batch, 0.3)
    assert (change_TE != 0).float().mean() > 0.5
    assert moved_parts["ranking_loss"] > parts["ranking_loss"] + 1e-4
    total, told = module(batch)
    expected = (clean + moved) / 2
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(told["loss"], expected)
    torch.testing.assert_close(told["adversarial_loss"], moved)
    torch.testing.assert_close({name: told[name] for name in parts}, parts)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    ours, theirs = (
        torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True) for loss in (total, expected)
    )
    learns = 0
    for weight, a, b in zip(weights, ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(
                a, b, rtol=1e-4, atol=1e-6, msg=lambda told, weight=weight: f"{weight.shape}: {told}"
            )
            learns += 1
    assert learns > 10
    (gradient,) = torch.autograd.grad(total, [next(module.item_tables.parameters())], allow_unused=True)
    assert (gradient is None) == frozen


def test_the_adversary_asks_no_weight_for_a_gradient(group, dataset):
    """A weight's gradient would be exchanged, and a sharded table's would already have trained it."""
    module, batch = module_and_batch(dataset, adversarial_radius=0.3)
    asked = []
    for weight in module.parameters():
        weight.register_hook(lambda gradient: asked.append(gradient))
    module(batch)
    assert not asked
    module(batch)[0].backward()
    assert asked


def test_radius_0_encodes_once(group, dataset):
    module, batch = module_and_batch(dataset)
    assert "adversarial_loss" not in module(batch)[1]


ADVERSARIAL = replace(runs.CONFIG.finetune, adversarial_radius=0.2, batch_size=128)


@pytest.mark.parametrize("fields", [{}, {"precision": "bf16"}])
def test_a_run_learns_and_scores_as_ever(dataset, tmp_path, fields):
    finetune(replace(runs.CONFIG, finetune=ADVERSARIAL, **fields), Place(data=dataset, out=tmp_path / "run"))
    steps = runs.losses(tmp_path / "run")
    assert steps["adversarial_loss"].iloc[-1] < steps["adversarial_loss"].iloc[0]
    assert (steps["adversarial_loss"] != steps["loss"]).all()


def test_a_frozen_tower_is_attacked_and_keeps_its_values(dataset, pretrained, tmp_path):
    frozen = replace(ADVERSARIAL, freeze_tower=True)
    finetune(replace(runs.CONFIG, finetune=frozen), Place(data=dataset, out=tmp_path / "run", pretrained=pretrained))
    before, after = runs.weights(pretrained), runs.weights(tmp_path / "run")
    tables = [name for name in before if name.startswith("item_tables.")]
    assert tables
    for name in tables:
        assert torch.equal(before[name], after[name]), name
    assert (runs.losses(tmp_path / "run")["adversarial_loss"] > 0).all()
