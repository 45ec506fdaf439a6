"""InfoNCE against loops over every event, pair and explicit negative."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.model.losses import (
    Negatives,
    Sequences,
    engaged_items,
    future_token_pairs,
    in_batch_counts,
    log_weights,
    masked_event_pairs,
    multi_token_pairs,
    negative_logsumexp,
    next_token_pairs,
    pair_losses,
    view_losses,
)

WIDTH, NUM_ITEMS = 4, 6
SEGMENT = st.lists(st.tuples(st.integers(0, NUM_ITEMS - 1), st.booleans()), max_size=6)
# Up to four segments of at most three users; a segment is a list of (item, positive).
BATCHES = st.lists(st.tuples(st.integers(0, 2), SEGMENT), min_size=1, max_size=4)


def sequences_of(batch):
    """User indices lie in [0, S), as the losses ask."""
    users = sorted({user for user, _ in batch})
    events = [event for _, segment in batch for event in segment]
    return Sequences(
        torch.tensor([len(segment) for _, segment in batch]),
        torch.tensor([users.index(user) for user, _ in batch]),
        torch.tensor([item for item, _ in events], dtype=torch.int64),
        torch.tensor([positive for _, positive in events], dtype=torch.bool),
    )


def numbered(batch):
    """(segment, position, event index, item, positive) of every event."""
    index = 0
    for s, (_, segment) in enumerate(batch):
        for position, (item, positive) in enumerate(segment):
            yield s, position, index, item, positive
            index += 1


def positive_pairs(batch, wanted):
    """All (anchor, target) of one segment with a positive target that `wanted(anchor, target, length)` keeps."""
    return [
        (i, j)
        for s, p, i, _, _ in numbered(batch)
        for t, q, j, _, positive in numbered(batch)
        if s == t and p < q and positive and wanted(p, q, len(batch[s][1]))
    ]


def as_list(pairs):
    return list(zip(*(column.tolist() for column in pairs), strict=True))


def infonce(states_TO, z_VO, temperature, sequences, pairs, log_q_V=None):
    """The fast path over a batch, as training puts it together."""
    ids_V = torch.arange(len(z_VO))
    negatives = Negatives(
        z_VO, log_weights(in_batch_counts(sequences, len(z_VO)), log_q_V), engaged_items(sequences, ids_V, ids_V)
    )
    anchors, targets = pairs
    user_T = sequences.user.repeat_interleave(sequences.lengths)
    negative_P = negative_logsumexp(states_TO[anchors], user_T[anchors], temperature, negatives)
    return pair_losses(states_TO[anchors], z_VO[sequences.item[targets]], temperature, negative_P)


def infonce_by_loops(states_TO, z_VO, temperature, batch, pairs, log_q_V=None):
    """The paper's formula, with one negative for every positive event of the batch."""
    events = list(numbered(batch))
    losses = []
    for i, j in pairs:
        user = batch[events[i][0]][0]
        engaged = {item for s, _, _, item, positive in events if positive and batch[s][0] == user}
        target = ((states_TO[i] @ z_VO[events[j][3]]) / temperature).exp()
        total = target
        for _, _, _, item, positive in events:
            if positive and item not in engaged:
                share = 1.0 if log_q_V is None else log_q_V[item].exp()
                total = total + ((states_TO[i] @ z_VO[item]) / temperature).exp() / share
        losses.append(-(target / total).log())
    return torch.stack(losses) if losses else states_TO.new_zeros(0)


def random_outputs(sequences):
    states = torch.nn.functional.normalize(torch.randn(len(sequences.item), WIDTH, dtype=torch.float64), dim=1)
    z = torch.nn.functional.normalize(torch.randn(NUM_ITEMS, WIDTH, dtype=torch.float64), dim=1)
    return states.requires_grad_(), z.requires_grad_(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)


@given(BATCHES, st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60)
def test_infonce_equals_loops_over_explicit_negatives(batch, log_q, seed):
    torch.manual_seed(seed)
    sequences = sequences_of(batch)
    log_q_V = torch.randn(NUM_ITEMS) if log_q else None
    inputs = random_outputs(sequences)
    pairs = next_token_pairs(sequences)
    fast = infonce(*inputs, sequences, pairs, log_q_V)
    slow = infonce_by_loops(*inputs, batch, as_list(pairs), log_q_V)
    torch.testing.assert_close(fast.double(), slow, rtol=1e-5, atol=1e-5)
    if len(slow):
        fast_grads, slow_grads = (torch.autograd.grad(losses.sum(), inputs) for losses in (fast, slow))
        torch.testing.assert_close(fast_grads, slow_grads, rtol=1e-5, atol=1e-5)


@given(BATCHES)
def test_next_token_pairs(batch):
    pairs = as_list(next_token_pairs(sequences_of(batch)))
    assert sorted(pairs) == positive_pairs(batch, lambda p, q, _: q == p + 1)


@given(BATCHES, st.integers(1, 7))
def test_next_token_pairs_of_the_newest_events(batch, newest):
    pairs = as_list(next_token_pairs(sequences_of(batch), newest))
    assert sorted(pairs) == positive_pairs(batch, lambda p, q, length: q == p + 1 and q >= length - newest)


@given(BATCHES, st.integers(1, 4), st.data())
def test_multi_token_pairs(batch, draws, data):
    sequences = sequences_of(batch)
    num_events = len(sequences.item)
    row = st.lists(st.integers(1, 5), min_size=draws, max_size=draws)
    ahead = data.draw(st.lists(row, min_size=num_events, max_size=num_events))
    pairs = as_list(multi_token_pairs(sequences, torch.tensor(ahead, dtype=torch.int64).view(num_events, draws)))
    every = set(positive_pairs(batch, lambda p, q, _: True))
    assert sorted(pairs) == sorted((i, i + a) for i in range(num_events) for a in ahead[i] if (i, i + a) in every)


@given(BATCHES, st.integers(1, 5), st.integers(1, 4))
def test_future_token_pairs_start_at_the_downstream_length_alone(batch, anchor_length, window):
    pairs = as_list(future_token_pairs(sequences_of(batch), anchor_length, window))
    assert sorted(pairs) == positive_pairs(
        batch, lambda p, q, _: p == anchor_length - 1 and anchor_length <= q < anchor_length + window
    )


@given(BATCHES, st.data())
def test_masked_event_pairs(batch, data):
    sequences = sequences_of(batch)
    num_events = len(sequences.item)
    hidden = data.draw(st.lists(st.booleans(), min_size=num_events, max_size=num_events))
    pairs = as_list(masked_event_pairs(sequences, torch.tensor(hidden, dtype=torch.bool)))
    assert pairs == [(i, i) for _, _, i, _, positive in numbered(batch) if positive and hidden[i]]


def contrastive_by_loops(first_PO, second_PO, users, temperature):
    """Each view once the anchor, its other half the target, and the views of other users one negative each."""
    losses = []
    for anchors, targets in ((first_PO, second_PO), (second_PO, first_PO)):
        for p, user in enumerate(users):
            target = (anchors[p] @ targets[p] / temperature).exp()
            others = [view[q] for q, other in enumerate(users) if other != user for view in (first_PO, second_PO)]
            losses.append(-(target / (target + sum((anchors[p] @ z / temperature).exp() for z in others))).log())
    return torch.stack(losses) if losses else first_PO.new_zeros(0)


@given(st.lists(st.integers(0, 3), max_size=6), st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_contrastive_loss_equals_loops_over_the_views_of_others(users, seed):
    torch.manual_seed(seed)
    views = [F.normalize(torch.randn(len(users), WIDTH, dtype=torch.float64), dim=1).requires_grad_() for _ in range(2)]
    temperature, user_P = torch.tensor(0.3), torch.tensor(users, dtype=torch.int64)
    engaged = torch.arange(4)[:, None] == user_P.repeat(2)
    others = Negatives(torch.cat(views), torch.zeros(2 * len(users)), engaged)
    fast, slow = view_losses(*views, user_P, temperature, others), contrastive_by_loops(*views, users, 0.3)
    torch.testing.assert_close(fast.double(), slow, rtol=1e-5, atol=1e-5)
    if users:
        fast_grads, slow_grads = (torch.autograd.grad(losses.sum(), views) for losses in (fast, slow))
        torch.testing.assert_close(fast_grads, slow_grads, rtol=1e-5, atol=1e-5)


def test_targets_are_positive_events_and_anchors_are_any():
    batch = [(0, [(0, False), (1, True), (2, False), (3, True)])]
    sequences = sequences_of(batch)
    assert as_list(next_token_pairs(sequences)) == [(0, 1), (2, 3)]
    assert as_list(future_token_pairs(sequences, 1, 3)) == [(0, 1), (0, 3)]
    assert as_list(multi_token_pairs(sequences, torch.full((4, 1), 2))) == [(1, 3)]


def test_segments_shorter_than_the_downstream_length_have_no_future_pairs():
    sequences = sequences_of([(0, [(0, True)] * 3), (1, [(1, True)] * 2)])
    assert as_list(future_token_pairs(sequences, 3, 5)) == []
    assert as_list(future_token_pairs(sequences, 2, 5)) == [(1, 2)]


def test_counts_as_weights_equal_negatives_listed_one_by_one():
    states = torch.randn(3, WIDTH)
    z = torch.randn(2, WIDTH)
    nobody = torch.zeros(1, 2, dtype=torch.bool)
    user = torch.zeros(3, dtype=torch.int64)
    weighted = negative_logsumexp(states, user, torch.tensor(0.5), Negatives(z, torch.tensor([3.0, 1.0]).log(), nobody))
    listed = Negatives(z[[0, 0, 0, 1]], torch.zeros(4), nobody[:, [0, 0, 0, 1]])
    torch.testing.assert_close(weighted, negative_logsumexp(states, user, torch.tensor(0.5), listed))


def test_log_weights_are_counts_of_positive_events_over_q():
    batch = [(0, [(0, True), (0, True), (1, False), (3, True)]), (1, [(0, True), (1, False)])]
    sequences = sequences_of(batch)
    plain = log_weights(in_batch_counts(sequences, 4), None)
    assert plain.tolist() == pytest.approx([math.log(3), -1e9, -1e9, 0.0])
    log_q = torch.tensor([0.5, -1.0, 2.0, -3.0])
    assert log_weights(in_batch_counts(sequences, 4), log_q).tolist() == pytest.approx(
        [math.log(3) - 0.5, -1e9, -1e9, 3.0]
    )


def test_items_that_are_never_positive_are_no_negatives():
    batch = [(0, [(0, True), (1, True)]), (1, [(2, False), (3, True)])]
    sequences = sequences_of(batch)
    states, z, temperature = random_outputs(sequences)
    pairs = next_token_pairs(sequences)
    loss = infonce(states, z, temperature, sequences, pairs)[0]
    (gradient,) = torch.autograd.grad(loss, z)
    # The target 1 and the other user's positive item 3; not the other user's item 2, nor absent ones.
    assert gradient.abs().sum(1).gt(0).tolist() == [False, True, False, True, False, False]


def test_a_users_segments_share_their_masks():
    # User 0 engages with item 2 in another segment than the anchor's.
    batch = [(0, [(0, True), (1, True)]), (1, [(3, True)]), (0, [(2, True)])]
    sequences = sequences_of(batch)
    states, z, temperature = random_outputs(sequences)
    loss = infonce(states, z, temperature, sequences, next_token_pairs(sequences)).sum()
    (gradient,) = torch.autograd.grad(loss, z)
    assert gradient.abs().sum(1).gt(0).tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize("log_q", [None, torch.zeros(NUM_ITEMS)])
def test_a_batch_of_one_user_costs_nothing_and_has_finite_gradients(log_q):
    sequences = sequences_of([(0, [(0, True), (1, True), (2, True)]), (0, [(3, True), (4, True)])])
    states, z, temperature = random_outputs(sequences)
    losses = infonce(states, z, temperature, sequences, next_token_pairs(sequences), log_q)
    assert losses.tolist() == [0.0, 0.0, 0.0]
    for gradient in torch.autograd.grad(losses.sum(), (states, z, temperature)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_no_pairs_give_no_losses():
    sequences = sequences_of([(0, [(0, False), (1, False)])])
    states, z, temperature = random_outputs(sequences)
    losses = infonce(states, z, temperature, sequences, next_token_pairs(sequences))
    assert losses.shape == (0,)
    assert torch.isfinite(torch.autograd.grad(losses.sum(), states)[0]).all()


@given(BATCHES, st.lists(st.integers(0, NUM_ITEMS + 3), max_size=8, unique=True))
def test_engaged_items_are_found_among_the_ids_of_another_batch(batch, others):
    sequences = sequences_of(batch)
    ids_V = torch.tensor([-7, 10, 20, 30, 40, 2**62])
    elsewhere = torch.cat([ids_V, torch.tensor([-8, 11, 2**63 - 1, -(2**63)])])[others].sort().values
    engaged = engaged_items(sequences, ids_V, elsewhere)
    expected = torch.zeros(len(batch), len(elsewhere), dtype=torch.bool)
    for s, _, _, item, positive in numbered(batch):
        for k, found in enumerate(elsewhere):
            if positive and found == ids_V[item]:
                expected[sequences.user[s], k] = True
    assert torch.equal(engaged, expected)


def test_half_precision_states_give_float32_losses():
    batch = [(0, [(0, True), (1, True)]), (1, [(2, True), (3, True)])]
    sequences = sequences_of(batch)
    states, z, temperature = (x.detach() for x in random_outputs(sequences))
    exact = infonce(states, z, temperature, sequences, next_token_pairs(sequences))
    half = infonce(states.bfloat16(), z.bfloat16(), temperature.float(), sequences, next_token_pairs(sequences))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.05)


def test_against_the_whole_catalogue_it_is_the_full_softmax():
    states, z, temperature = torch.randn(5, WIDTH), torch.randn(NUM_ITEMS, WIDTH), torch.tensor(0.3)
    target = torch.tensor([0, 3, 3, 5, 1])
    negatives = Negatives(z, torch.zeros(NUM_ITEMS), torch.zeros(0, NUM_ITEMS, dtype=torch.bool))
    assert negatives.hold_targets()
    sums = negative_logsumexp(states, torch.zeros(5, dtype=torch.int64), temperature, negatives)
    ours = pair_losses(states, z[target], temperature, sums, negatives.hold_targets())
    torch.testing.assert_close(ours, F.cross_entropy(states @ z.T / temperature, target, reduction="none"))
