"""The loss of fine-tuning: alignment is of candidates under their own ids, and each part has its weight."""

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


@pytest.fixture
def data(dataset):
    return PreparedDataset.open(dataset)


def model_of(config, data):
    """A model, and its first batch."""
    tables = finetune_tables(config, data.info.schema, data.info.counts.users)
    ids = Ids(tables.item, tables.features, config.managed_ids)
    batch = next(request_feed(config, data, ids, "train", training=True).batches(0, 1))
    torch.manual_seed(0)
    module = build_finetune(config, data.info.schema, tables, CPU)
    return shard(module, config, config.finetune.optimizer, {}, CPU), batch


def test_a_candidate_under_a_random_id_is_not_aligned(group, data):
    model, batch = model_of(CONFIG, data)
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


def test_every_part_of_the_loss_has_its_weight(group, data):
    weights = {"tower_ranking_loss": 0.5, "agreement_loss": 0.25, "next_token_loss": 0.125, "alignment_loss": 0.75}
    phase = replace(
        CONFIG.finetune, tower_prediction_weight=0.5, agreement_weight=0.25, next_token_weight=0.125, batch_size=32
    )
    config = replace(CONFIG, finetune=phase, cold_start=replace(CONFIG.cold_start, alignment_weight=0.75))
    model, batch = model_of(config, data)
    total, parts = model(batch)
    assert all(parts[name] > 1e-4 for name in weights)
    expected = parts["ranking_loss"] + sum(weight * parts[name] for name, weight in weights.items())
    torch.testing.assert_close(total, expected)
