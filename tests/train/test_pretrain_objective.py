"""The loss of a pretraining step against loops over its pairs, with the catalogue and with samples of it."""

from dataclasses import replace

import runs
import torch
import torch.nn.functional as F

from pinfm.embeddings.sharded.collections import concatenate_sub_tables, embedding_collection
from pinfm.model.layers.tokens import gaps_to_next
from pinfm.train.build import build_pretrain, pretrain_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import segment_feed

CPU = torch.device("cpu")
NUM_SAMPLED = 64


def module_and_batch(dataset, **phase):
    """A pretraining module over whole tables of random rows, and a batch."""
    config = replace(runs.CONFIG, pretrain=replace(runs.CONFIG.pretrain, log_q=False, num_sampled=NUM_SAMPLED, **phase))
    data, tables = PreparedDataset.open(dataset), pretrain_tables(config)
    batch = next(segment_feed(config, data, Ids(tables.item, (), config.managed_ids)).batches(0, 1))
    module = build_pretrain(config, data.info.schema, tables, CPU)
    module.item_tables = embedding_collection([tables.item], CPU)
    for weight in module.item_tables.parameters():
        torch.nn.init.normal_(weight)
    return module, batch


def scores_of(module, batch):
    """(T, V): what each event's state says of each item of the batch."""
    objective = module.objective
    encoder = objective.model["encoder"]
    item_VE = concatenate_sub_tables(module.item_tables(batch.item_rows), objective.item_table)
    states_TO = encoder.states(
        encoder.encode_context(batch.history, item_VE[batch.item_index]), gaps_to_next(batch.history)
    )
    return states_TO @ encoder.psi(item_VE).T / encoder.temperature()


def next_events(batch):
    """Every event that has a positive one after it in its segment, with that one's item and all of the user's own."""
    segment_T = torch.repeat_interleave(batch.history.lengths).tolist()
    user_T = batch.user[segment_T].tolist()
    item_T, positive_T = batch.item_index.tolist(), batch.positive.tolist()
    own = {user: {item_T[t] for t, of in enumerate(user_T) if of == user and positive_T[t]} for user in set(user_T)}
    for t in range(len(item_T) - 1):
        if segment_T[t] == segment_T[t + 1] and positive_T[t + 1]:
            yield t, item_T[t + 1], own[user_T[t]]


@torch.no_grad()
def test_the_catalogue_makes_a_full_softmax(group, dataset):
    module, batch = module_and_batch(dataset, negatives="catalogue", multi_token_weight=0.0, future_token_weight=0.0)
    scores_TV = scores_of(module, batch)
    there_V = batch.drawn > 0
    losses = [
        F.cross_entropy(scores_TV[t].masked_fill(~there_V, -torch.inf), torch.tensor(target))
        for t, target, _ in next_events(batch)
    ]
    torch.testing.assert_close(module(batch)[0], torch.stack(losses).mean())


@torch.no_grad()
def test_samples_stand_for_the_items_that_were_not_drawn(group, dataset):
    module, batch = module_and_batch(dataset, negatives="sampled", multi_token_weight=0.0, future_token_weight=0.0)
    assert len(batch.user.unique()) < len(batch.user)  # a user's other segments have items of the user's too
    scores_TV = scores_of(module, batch)
    data = PreparedDataset.open(dataset)
    num_items = len(data.item_attributes.known_at(data.info.splits["train"][1]))
    losses = []
    for t, target, own in next_events(batch):
        drawn = [(v, n) for v, n in enumerate(batch.drawn.tolist()) if n and v not in own]
        rivals = sum(n * num_items / NUM_SAMPLED * scores_TV[t, v].exp() for v, n in drawn)
        losses.append(-(scores_TV[t, target].exp() / (scores_TV[t, target].exp() + rivals)).log())
    torch.testing.assert_close(module(batch)[0], torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_part_of_the_loss_has_its_weight(group, dataset):
    weights = {"next_token": 1.0, "multi_token": 2.0, "future_token": 3.0}
    module, batch = module_and_batch(dataset, **{f"{name}_weight": weight for name, weight in weights.items()})
    total, parts = module(batch)
    of_each = [parts[f"{name}_loss"] for name in weights]
    assert len({round(part.item(), 4) for part in of_each}) == 3
    torch.testing.assert_close(total, sum(w * part for w, part in zip(weights.values(), of_each, strict=True)))
