"""The alignment loss over candidates that stand under their own ids."""

from dataclasses import replace

import pytest
import runs
import torch

from pinfm.train.build import build_finetune, finetune_tables, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed

CPU = torch.device("cpu")
CONFIG = replace(
    runs.CONFIG,
    cold_start=replace(runs.CONFIG.cold_start, content_fusion=True, candidate_id_randomization=0.0),
    finetune=replace(runs.CONFIG.finetune, batch_size=4),
)


def test_a_candidate_under_a_random_id_is_not_aligned(group, dataset):
    data = PreparedDataset.open(dataset)
    tables = finetune_tables(CONFIG, data.info.schema, data.info.counts.users)
    ids = Ids(tables.item, tables.features, CONFIG.managed_ids)
    batch = next(request_feed(CONFIG, data, ids, "train", training=True).batches(0, 1))
    module = build_finetune(CONFIG, data.info.schema, tables, CPU)
    model = shard(module, CONFIG, CONFIG.finetune.optimizer, {}, CPU)
    count = batch.candidates.item_id.numel()
    other = (batch.candidate_item + 1) % batch.item_ids.numel()

    def alignment(own: torch.Tensor) -> float:
        drawn = replace(batch, candidate_item=torch.where(own, batch.candidate_item, other))
        return model(drawn)[1]["alignment_loss"].item()

    each = [alignment(torch.arange(count) == place) for place in range(count)]
    assert max(each) - min(each) > 0.01
    half = torch.arange(count) % 2 == 0
    assert alignment(half) == pytest.approx(sum(each[::2]) / len(each[::2]), rel=1e-4)
    assert alignment(torch.zeros(count, dtype=torch.bool)) == 0
