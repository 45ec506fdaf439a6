"""What a training epoch shows of the histories."""

from dataclasses import replace

import loops
import runs

from pinfm.train.build import finetune_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed

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
