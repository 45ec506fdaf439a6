"""Requests that read one shared history score as if each had its own."""

from dataclasses import replace

import numpy as np
import pytest
import runs
import torch

from pinfm.embeddings.specs import ManagedIdsConfig
from pinfm.train.build import build_finetune, finetune_tables, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.batches import RequestCollator
from pinfm.train.loader.requests import RequestReader, RequestSource
from pinfm.train.loader.streams import Draw

CPU = torch.device("cpu")


@pytest.mark.parametrize("fusion", ["early", "lite_mean", "lite_last"])
@pytest.mark.parametrize("max_history", [4, 100])
def test_shared_histories_give_the_same_scores(group, dataset, fusion, max_history):
    data = PreparedDataset.open(dataset)
    config = replace(
        runs.CONFIG,
        tower=replace(runs.CONFIG.tower, num_layers=2, fusion=fusion),
        # It counts an event once for each history that holds it.
        finetune=replace(runs.CONFIG.finetune, next_token_weight=0.0),
    )
    schema, tables = data.info.schema, finetune_tables(config, data.info.schema, data.info.counts.users)
    model = shard(build_finetune(config, schema, tables, CPU), config, config.finetune.optimizer, {}, CPU).train()
    items = data.item_attributes
    collate = RequestCollator(Ids(tables.item, tables.features, ManagedIdsConfig()), schema, observed=())
    bucket = RequestSource(data, "train", max_history=max_history, window_step=2).read(1)
    rows = np.arange(len(bucket.history_start))
    logits, losses, histories, gradients = [], [], [], []
    for share in (True, False):
        arrays = RequestReader(schema, items, 0.0, share)(Draw(bucket=bucket, rows=rows, rng=np.random.default_rng(0)))
        batch = collate(arrays)
        loss, parts = model(batch)
        logits.append(parts["logits"].detach())
        losses.append(loss.detach())
        dense = {name: weight for name, weight in model.named_parameters() if name.startswith("objective.")}
        dense = {name: weight for name, weight in dense.items() if weight.requires_grad}
        found = torch.autograd.grad(loss, list(dense.values()), allow_unused=True)
        gradients.append(dict(zip(dense, found, strict=True)))
        histories.append(len(batch.history.lengths))
    assert histories[0] < histories[1] == len(rows)
    assert logits[0].std() > 1e-3
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=1e-5)
    learnt = {name for name, gradient in gradients[1].items() if gradient is not None}
    assert any(".encoder.fusion." in name for name in learnt)
    for name in learnt:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=1e-3, atol=1e-5, msg=name)
