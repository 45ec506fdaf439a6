"""What pretraining has learnt of actions begins the tower's predictions of the tasks that are named after them."""

from dataclasses import replace

import pytest
import runs
import torch

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.build import build_finetune, finetune_tables, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.head_start import load_head_start
from pinfm.train.run_folder.place import Place

CPU = torch.device("cpu")
PRETRAINED, OURS = "objective.next_action.head.", "objective.model.tower_heads."


@pytest.fixture(scope="module")
def learnt(dataset, tmp_path_factory):
    """A pretraining run with the next-action loss."""
    out = tmp_path_factory.mktemp("next_action") / "run"
    phase = replace(runs.CONFIG.pretrain, next_action_weight=1.0, unmet_items=1)
    pretrain(replace(runs.CONFIG, pretrain=phase), Place(data=dataset, out=out))
    return out


def sharded(dataset, config):
    schema = PreparedDataset.open(dataset).info.schema
    module = build_finetune(config, schema, finetune_tables(config, schema, 60), CPU)
    return shard(module, config, config.finetune.optimizer, {}, CPU), schema


def heads_of(state):
    return {name.removeprefix(OURS): tensor.clone() for name, tensor in state.items() if name.startswith(OURS)}


def test_rows_of_equal_names_are_copied(learnt, group, dataset):
    theirs = {
        name.removeprefix(PRETRAINED): tensor
        for name, tensor in runs.checkpoint(learnt)["model"].items()
        if name.startswith(PRETRAINED)
    }
    model, schema = sharded(dataset, runs.CONFIG)
    # Of the tasks one is no action, and the order is another.
    schema = replace(schema, tasks=("share", *reversed(schema.actions))[: len(schema.tasks)])
    before = heads_of(model.state_dict())
    named = load_head_start(model, RunFolder.open(learnt), schema)
    after = heads_of(model.state_dict())
    assert named == list(schema.tasks[1:])
    assert theirs.keys() == after.keys()
    last = max(name.partition(".")[0] for name in after)
    for name, tensor in after.items():
        if not name.startswith(last):
            assert torch.equal(tensor, theirs[name])
            continue
        assert torch.equal(tensor[0], before[name][0])
        for i, task in enumerate(schema.tasks[1:], start=1):
            assert torch.equal(tensor[i], theirs[name][schema.actions.index(task)])


def test_a_run_without_the_loss_gives_no_start(group, dataset, pretrained):
    model, schema = sharded(dataset, runs.CONFIG)
    before = heads_of(model.state_dict())
    assert load_head_start(model, RunFolder.open(pretrained), schema) == []
    for name, tensor in heads_of(model.state_dict()).items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("tower_path", [False, True])
def test_finetuning_takes_the_start_on_the_tower_path_alone(learnt, dataset, tmp_path, tower_path):
    # At a rate of next to nothing the weights stay what they began as.
    optimizer = replace(runs.CONFIG.finetune.optimizer, dense_lr=1e-9, weight_decay=0.0)
    config = replace(
        runs.CONFIG,
        ranker=replace(runs.CONFIG.ranker, tower_path=tower_path),
        finetune=replace(runs.CONFIG.finetune, batch_size=128, optimizer=optimizer),
    )
    finetune(config, Place(data=dataset, out=tmp_path / "run", pretrained=learnt))
    ours = runs.checkpoint(tmp_path / "run")["model"][f"{OURS}0.weight"]
    theirs = runs.checkpoint(learnt)["model"][f"{PRETRAINED}0.weight"]
    assert torch.allclose(ours, theirs, atol=1e-5) == tower_path
