"""What the feeds give to a step: every id once, and histories as they are."""

from dataclasses import replace

import loops
import pytest
import runs
import torch

from pinfm.train.build import finetune_tables, pretrain_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed, segment_feed

MAX_HISTORY = 8


def events_seen(data, *, learnable_token):
    """Events that the requests of an epoch see, together."""
    cold_start = replace(runs.CONFIG.cold_start, learnable_token=learnable_token)
    config = replace(runs.CONFIG, max_history=MAX_HISTORY, cold_start=cold_start)
    tables = finetune_tables(config, data.info.schema, data.info.counts.users)
    feed = request_feed(config, data, Ids(tables.item, tables.features, config.managed_ids), "train", training=True)
    return sum(int(batch.reads.visible.sum()) for batch in feed.batches(0, feed.steps_per_epoch))


def test_histories_are_cut_only_where_they_are_shared(group, dataset):
    data = PreparedDataset.open(dataset)
    users = loops.events_by_user(data)
    newest = (
        loops.history_of(users.get(request["user_id"], []), request["timestamp"], MAX_HISTORY)
        for request in loops.requests_of(data, "train")
    )
    whole = sum(len(events) for events in newest)
    assert events_seen(data, learnable_token=True) == whole
    assert 0.7 * whole < events_seen(data, learnable_token=False) < whole


@pytest.mark.parametrize("negatives", ["in_batch", "sampled", "catalogue"])
def test_pretraining_looks_every_id_up_once(group, dataset, negatives):
    config = replace(runs.CONFIG, pretrain=replace(runs.CONFIG.pretrain, negatives=negatives, log_q=False))
    ids = Ids(pretrain_tables(config).item, (), config.managed_ids)
    feed = segment_feed(config, PreparedDataset.open(dataset), ids)
    for batch in feed.batches(0, feed.steps_per_epoch):
        assert (batch.item_ids[1:] > batch.item_ids[:-1]).all()
        assert batch.item_ids[batch.item_index].tolist() == batch.history.item_id.tolist()
        assert len(batch.item_ids) < len(batch.item_index) or negatives != "in_batch"
        for rows in batch.item_rows.to_dict().values():
            assert len(rows.values()) == len(batch.item_ids)


@pytest.mark.parametrize("negatives", ["sampled", "catalogue"])
def test_items_of_later_days_are_no_negatives(group, dataset, negatives):
    data = PreparedDataset.open(dataset)
    phase = replace(runs.CONFIG.pretrain, negatives=negatives, num_sampled=64, log_q=False)
    config = replace(runs.CONFIG, pretrain=phase)
    feed = segment_feed(config, data, Ids(pretrain_tables(config).item, (), config.managed_ids))
    batches = list(feed.batches(0, feed.steps_per_epoch))
    drawn = {item for batch in batches for item in batch.item_ids[batch.drawn > 0].tolist()}
    items = data.items().to_pandas().set_index("item_id")
    there = items.index[(items["created_at"] < data.info.splits["train"][1]) | (items["event_count"] > 0)]
    assert 0 < len(items) - len(there) < len(there)
    assert drawn <= set(there)
    assert len(drawn) > 0.9 * len(there)
    for batch in batches:
        assert batch.drawn_items.tolist() == torch.nonzero(batch.drawn)[:, 0].tolist()
        if negatives == "sampled":
            assert batch.drawn.sum() == 64
            assert torch.allclose(batch.log_share, -torch.tensor(len(there)).log())
        else:
            assert batch.item_ids[batch.drawn == 1].tolist() == sorted(there)
            assert batch.drawn.sum() == len(there)


def test_finetuning_reads_the_newest_days(group, dataset):
    data = PreparedDataset.open(dataset)
    end = data.info.splits["train"][1]

    def times(days, split="train"):
        config = replace(runs.CONFIG, finetune=replace(runs.CONFIG.finetune, newest_days=days))
        tables = finetune_tables(config, data.info.schema, data.info.counts.users)
        ids = Ids(tables.item, tables.features, config.managed_ids)
        feed = request_feed(config, data, ids, split, training=split == "train")
        return torch.cat([batch.candidates.request_timestamp for batch in feed.batches(0, feed.steps_per_epoch)])

    everything, newest = times(1000), times(2)
    assert everything.min() < end - 2 * 86_400 <= newest.min()
    assert sorted(newest.tolist()) == sorted(everything[everything >= end - 2 * 86_400].tolist())
    assert torch.equal(times(1, "test"), times(1000, "test"))
