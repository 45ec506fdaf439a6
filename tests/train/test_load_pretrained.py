"""What fine-tuning takes over from a pretraining run."""

import runs
import torch

from pinfm.model.run_folder import RunFolder
from pinfm.train.build import (
    build_finetune,
    build_optimizer,
    build_pretrain,
    finetune_tables,
    pretrain_tables,
    shard,
)
from pinfm.train.checkpoint import TrainState, load_pretrained, resume
from pinfm.train.data.dataset import PreparedDataset

CPU = torch.device("cpu")


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


def test_item_tables_come_with_the_sums_of_their_optimizer(group, dataset, pretrained):
    info = PreparedDataset.open(dataset).info
    learning = runs.CONFIG.pretrain.optimizer
    source = shard(build_pretrain(runs.CONFIG, info.schema, pretrain_tables(runs.CONFIG), CPU), learning, {}, CPU, 0)
    resume(TrainState(model=source, optimizer=build_optimizer(source, learning)), RunFolder.open(pretrained))
    tables = finetune_tables(runs.CONFIG, info.schema, info.counts.users)
    model = shard(build_finetune(runs.CONFIG, info.schema, tables, CPU), learning, {}, CPU, 1)

    load_pretrained(model, RunFolder.open(pretrained))

    found, expected = item_table_state(model), item_table_state(source)
    assert any("momentum" in name and value.count_nonzero() for name, value in expected.items())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
