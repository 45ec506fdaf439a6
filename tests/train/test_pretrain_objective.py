"""The loss of a pretraining step against loops over its pairs, with the catalogue and with samples of it."""

from dataclasses import replace

import pytest
import runs
import torch
import torch.nn.functional as F

from pinfm.embeddings.sharded.collections import concatenate_sub_tables, embedding_collection
from pinfm.model.inputs import Candidates
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, gaps_to_next
from pinfm.model.losses import Sequences
from pinfm.model.views import keep_events
from pinfm.train.build import build_pretrain, pretrain_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import segment_feed

CPU = torch.device("cpu")
NUM_SAMPLED = 64


def module_and_batch(dataset, *, request_time=False, **phase):
    """A pretraining module over whole tables of random rows, and a batch."""
    config = replace(
        runs.CONFIG,
        tower=replace(runs.CONFIG.tower, request_time=request_time),
        pretrain=replace(runs.CONFIG.pretrain, log_q=False, num_sampled=NUM_SAMPLED, **phase),
    )
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


NO_TOKENS = {"next_token_weight": 0.0, "multi_token_weight": 0.0, "future_token_weight": 0.0}


def encoder_and_items(module, batch):
    item_VE = concatenate_sub_tables(module.item_tables(batch.item_rows), module.objective.item_table)
    return module.objective.model["encoder"], item_VE


def undated(encoder, history, item_TE):
    """States that are not told when they are read."""
    unknown = torch.full_like(history.timestamp, NUM_GAP_BUCKETS)
    return encoder.states(encoder.encode_context(history, item_TE), unknown)


@pytest.mark.parametrize("request_time", [False, True])
def test_a_hidden_event_is_named_by_the_state_at_it(group, dataset, request_time):
    module, batch = module_and_batch(
        dataset, request_time=request_time, **NO_TOKENS, masked_event_weight=1.0, masked_events=0.3
    )
    module.eval()
    # Not all of the actions are positive ones.
    batch = replace(batch, positive=batch.positive & (torch.rand(batch.positive.shape) < 0.7))
    encoder, item_VE = encoder_and_items(module, batch)
    for weight in encoder.request_time.parameters():
        torch.nn.init.normal_(weight)
    item_TE = item_VE[batch.item_index].clone()
    item_TE[batch.hidden] = 0.0
    scores_TV = undated(encoder, batch.history, item_TE) @ encoder.psi(item_VE).T / encoder.temperature()
    segment_T = torch.repeat_interleave(batch.history.lengths)
    user_T, item_T = batch.user[segment_T], batch.item_index
    losses = []
    for t in torch.nonzero(batch.hidden & batch.positive)[:, 0]:
        own = set(item_T[(user_T == user_T[t]) & batch.positive].tolist())
        rivals = [scores_TV[t, item_T[s]] for s in torch.nonzero(batch.positive)[:, 0] if item_T[s].item() not in own]
        every = torch.stack([scores_TV[t, item_T[t]], *rivals])
        losses.append(every.logsumexp(0) - every[0])
    assert 10 < len(losses) < batch.hidden.sum() < len(item_T)
    assert_same_loss(module, batch, torch.stack(losses).mean())


def assert_same_loss(module, batch, expected, name="loss"):
    """In value and in the gradient of every weight of tables and tower."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    loss = module(batch)[1][name]
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    ours, theirs = (torch.autograd.grad(loss, weights, allow_unused=True) for loss in (loss, expected))
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert sum(a is not None for a in ours) > 10


def test_two_views_of_a_segment_agree_and_differ_from_those_of_other_users(group, dataset):
    module, batch = module_and_batch(dataset, contrastive_weight=1.0, contrastive_temperature=0.5)
    batch = replace(batch, user=batch.user // 2)  # some users have two segments
    encoder, item_VE = encoder_and_items(module, batch)
    views = []
    for segment, length in enumerate(batch.history.lengths):
        of = torch.repeat_interleave(batch.history.lengths) == segment
        pair = []
        for kept in (of & batch.half, of & ~batch.half):
            view = keep_events(batch.history, kept)
            pair.append(undated(encoder, view._replace(lengths=kept.sum()[None]), item_VE[batch.item_index[kept]]))
        if all(len(states) > 1 for states in pair):
            views.append((int(batch.user[segment]), pair[0][-1], pair[1][-1]))
        else:
            assert length < 4
    losses = []
    for user, *pair in views:
        for anchor, target in (pair, pair[::-1]):
            rivals = [anchor @ view for other, *others in views if other != user for view in others]
            every = torch.stack([anchor @ target, *rivals]) / 0.5
            losses.append(every.logsumexp(0) - every[0])
    assert len({user for user, *_ in views}) < len(views) < len(batch.history.lengths)
    total, parts = module(batch)
    torch.testing.assert_close(parts["contrastive_loss"], torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)
    named = parts["next_token_loss"] + parts["multi_token_loss"] + parts["future_token_loss"]
    without = torch.autograd.grad(named, encoder.phi_out.parameters(), retain_graph=True)
    alone = torch.autograd.grad(torch.stack(losses).mean(), encoder.phi_out.parameters())
    both = torch.autograd.grad(total, encoder.phi_out.parameters())
    torch.testing.assert_close(both, tuple(a + b for a, b in zip(without, alone, strict=True)), rtol=1e-3, atol=1e-5)


def test_a_loss_of_weight_0_is_not_computed(group, dataset, monkeypatch):
    for phase, encodings in (
        ({}, 1),
        ({"masked_event_weight": 1.0}, 2),
        ({**NO_TOKENS, "masked_event_weight": 1.0}, 1),
    ):
        module, batch = module_and_batch(dataset, **phase)
        encoder, count = module.objective.model["encoder"], []
        whole = encoder.encode_context
        monkeypatch.setattr(
            encoder, "encode_context", lambda *given, whole=whole, count=count: (count.append(1), whole(*given))[1]
        )
        parts = module(batch)[1]
        assert len(count) == encodings
        assert ("masked_event_loss" in parts) == ("masked_event_weight" in phase)
        assert "contrastive_loss" not in parts
        assert ("next_token_loss" in parts) == ("next_token_weight" not in phase)


@torch.no_grad()
def test_every_part_of_the_loss_has_its_weight(group, dataset):
    weights = {"next_token": 1.0, "multi_token": 2.0, "future_token": 3.0, "masked_event": 4.0, "contrastive": 5.0}
    module, batch = module_and_batch(dataset, **{f"{name}_weight": weight for name, weight in weights.items()})
    total, parts = module(batch)
    of_each = [parts[f"{name}_loss"] for name in weights]
    assert len({round(part.item(), 4) for part in of_each}) == len(weights)
    torch.testing.assert_close(total, sum(w * part for w, part in zip(weights.values(), of_each, strict=True)))


@pytest.mark.parametrize(("tells_surface", "unmet"), [(False, 0), (True, 0), (True, 2)])
def test_what_a_user_did_next_is_told_of_items_scored_alone(group, dataset, tells_surface, unmet):
    module, batch = module_and_batch(dataset, next_action_weight=1.0, unmet_items=unmet)
    module.eval()
    module.objective.next_action.tells_surface = tells_surface
    # Several events a moment, and some of them on one item.
    history = batch.history._replace(timestamp=batch.history.timestamp // 100_000 * 100_000)
    batch = replace(batch, history=history, item_index=batch.item_index // 2 * 2)
    losses, moments = [], 0
    for segment in torch.arange(len(history.lengths)):
        of_T = torch.repeat_interleave(history.lengths) == segment
        for time in history.timestamp[of_T].unique():
            losses += list(moment_losses(module, batch, of_T, time, tells_surface))
            moments += 1
    assert 10 < moments < len(losses) < len(batch.item_index) * (1 + unmet)
    assert_same_loss(module, batch, torch.stack(losses).mean(), "next_action_loss")


def moment_losses(module, batch, of_T, time, tells_surface):
    """The loss of each item that a user met at a time, scored alone by `cross` after the events before."""
    history, (encoder, item_VE) = batch.history, encoder_and_items(module, batch)
    before_T, now_T = of_T & (history.timestamp < time), of_T & (history.timestamp == time)
    before = keep_events(history, before_T)._replace(lengths=before_T.sum()[None])
    context = encoder.encode_context(before, item_VE[batch.item_index[before_T]])
    offered = []
    for item in batch.item_index[now_T].unique():
        first = torch.nonzero(now_T & (batch.item_index == item))[0, 0]
        offered += [item, *(other for other in batch.unmet[first] if other not in batch.item_index[of_T])]
    for item in offered:
        candidates = Candidates(
            lengths=torch.tensor([1]),
            request_timestamp=time[None],
            item_id=item[None],
            created_at=torch.tensor([0]),
            content=torch.zeros(1, 0),
            surface=history.surface[now_T][:1] if tells_surface else None,
        )
        logits_1A = module.objective.next_action.head(encoder.cross(context, before, candidates, item_VE[item][None]))
        done = history.action[now_T & (batch.item_index == item)].unique() - 1
        actions_1A = torch.zeros_like(logits_1A).index_fill(1, done, 1.0)
        yield F.binary_cross_entropy_with_logits(logits_1A, actions_1A, reduction="sum")


@pytest.mark.parametrize("negatives", ["in_batch", "catalogue"])
@torch.no_grad()
def test_losses_weigh_by_their_pairs(group, dataset, negatives):
    weights = {"next_token_weight": 0.5, "multi_token_weight": 1.0, "future_token_weight": 2.0}
    module, batch = module_and_batch(dataset, negatives=negatives, **weights, loss_weights="by_pairs")
    module.eval()
    total, parts = module(batch)
    sequences = Sequences(batch.history.lengths, batch.user, batch.item_index, batch.positive)
    counts = {name: len(pairs[0]) for name, pairs in module.objective._token_pairs(sequences, batch).items()}
    assert counts["multi_token_loss"] > counts["next_token_loss"] > counts["future_token_loss"] > 0
    shares = {name: weights[f"{name.removesuffix('_loss')}_weight"] * count for name, count in counts.items()}
    expected = sum(share * parts[name] for name, share in shares.items()) / sum(shares.values())
    torch.testing.assert_close(total, expected)
    by_means = sum(weights[f"{name.removesuffix('_loss')}_weight"] * parts[name] for name in counts)
    module.objective.config = replace(module.objective.config, loss_weights="by_means")
    torch.testing.assert_close(module(batch)[0], by_means)
