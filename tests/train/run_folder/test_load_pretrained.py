"""What fine-tuning takes over from a pretraining run."""

from dataclasses import replace

import pytest
import runs
import torch

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.build import (
    build_finetune,
    build_optimizer,
    build_pretrain,
    finetune_tables,
    pretrain_tables,
    shard,
)
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.run_folder.checkpoint import TrainState, load_pretrained, resume

CPU = torch.device("cpu")


def ids_of(tables):
    return Ids(tables.item, tables.features, runs.CONFIG.managed_ids)


def item_table_state(model):
    """Weights of the item tables, and the sums that their Adagrad has gathered."""
    weights = {name: value for name, value in model.state_dict().items() if name.startswith("item_tables.")}
    sums = {
        f"{table} {name}": value
        for table, state in model.fused_optimizer.state_dict()["state"].items()
        if table.startswith("item_tables.")
        for name, value in state.items()
    }
    return {name: value.local_shards()[0].tensor for name, value in {**weights, **sums}.items()}


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_item_tables_come_with_the_sums_of_their_optimizer(group, dataset, pretrained, scale):
    info = PreparedDataset.open(dataset).info
    learning = runs.CONFIG.pretrain.optimizer
    own = pretrain_tables(runs.CONFIG)
    source = shard(build_pretrain(runs.CONFIG, info.schema, own, CPU), runs.CONFIG, learning, {}, CPU)
    state = TrainState(model=source, optimizer=build_optimizer(source, learning), ids=ids_of(own))
    resume(state, RunFolder.open(pretrained))
    tables = finetune_tables(runs.CONFIG, info.schema, info.counts.users)
    other_seed = replace(runs.CONFIG, seed=1)
    model = shard(build_finetune(runs.CONFIG, info.schema, tables, CPU), other_seed, learning, {}, CPU)

    load_pretrained(model, ids_of(tables), RunFolder.open(pretrained), scale)

    found, expected = item_table_state(model), item_table_state(source)
    sums = [name for name in expected if "momentum" in name]
    assert len(sums) == tables.item.num_hashes
    assert all(expected[name].count_nonzero() for name in sums)
    expected |= {name: scale * expected[name] for name in sums}
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
