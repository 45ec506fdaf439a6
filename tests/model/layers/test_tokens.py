"""Which times a token may depend on; the buckets of gaps are in test_gap_buckets.py."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import ITEM_DIM, NUM_ITEMS, collate, random_requests, roughen
from reference import candidate_tokens, event_tokens

from pinfm.model.config import TowerConfig
from pinfm.model.inputs import Reads, own_histories
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, TokenInput


def make_tokens(**variant):
    tower = TowerConfig(dim=8, out_dim=8, **variant)
    return roughen(TokenInput(item_dim=ITEM_DIM, num_actions=3, num_surfaces=2, tower=tower))


def batch(event_lengths=(4, 0, 1), candidate_lengths=(2, 1, 2)):
    return collate(random_requests(event_lengths, candidate_lengths, torch.randn(NUM_ITEMS, ITEM_DIM)))


@pytest.mark.parametrize("time", ["gap", "none"])
def test_tokens_keep_the_precision_of_the_weights(time):
    history, candidates, _, item_TE, item_NE = batch()
    tokens = make_tokens(time=time).bfloat16()
    events = tokens.events(history, item_TE.bfloat16())
    rows = tokens.candidates(history, own_histories(history.lengths), candidates, item_NE.bfloat16())
    assert (events.dtype, rows.dtype) == (torch.bfloat16, torch.bfloat16)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=4), st.integers(0, 2**32))
@settings(max_examples=40)
def test_tokens_equal_the_sum_of_their_parts(lengths, seed):
    torch.manual_seed(seed)
    tokens, requests = make_tokens(), batch(*zip(*lengths, strict=True))
    history, candidates, _, item_TE, item_NE = requests
    torch.testing.assert_close(
        tokens.events(history, item_TE), event_tokens(tokens, history, item_TE), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        tokens.candidates(history, own_histories(history.lengths), candidates, item_NE),
        candidate_tokens(tokens, history, candidates, item_NE),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_first_event_has_no_gap_whatever_came_before_in_the_batch():
    tokens, (history, _, _, item_TE, _) = make_tokens(), batch((2, 2), (1, 1))
    moved = history._replace(timestamp=history.timestamp + torch.tensor([0, 0, 10**6, 10**6]))
    assert torch.equal(tokens.events(moved, item_TE), tokens.events(history, item_TE))


def test_the_no_gap_vector_is_used_by_first_events_and_empty_histories_alone():
    tokens, (history, candidates, _, item_TE, item_NE) = make_tokens(), batch()
    reads = own_histories(history.lengths)
    before = tokens.events(history, item_TE), tokens.candidates(history, reads, candidates, item_NE)
    with torch.no_grad():
        tokens.gap.weight[NUM_GAP_BUCKETS] += torch.randn(ITEM_DIM)
    after = tokens.events(history, item_TE), tokens.candidates(history, reads, candidates, item_NE)
    changed = [(old != new).any(1).tolist() for old, new in zip(before, after, strict=True)]
    assert changed == [[True, False, False, False, True], [False, False, True, False, False]]


def test_a_gap_moves_its_own_event_alone():
    tokens, (history, _, _, item_TE, _) = make_tokens(), batch((4,), (1,))
    spaced = history._replace(timestamp=torch.tensor([0, 10, 20, 30]))
    later = history._replace(timestamp=torch.tensor([0, 10, 5000, 5010]))
    changed = (tokens.events(spaced, item_TE) != tokens.events(later, item_TE)).any(1)
    assert changed.tolist() == [False, False, True, False]


def test_the_request_time_moves_the_candidates_with_a_history():
    tokens, (history, candidates, _, _, item_NE) = make_tokens(), batch()
    reads = own_histories(history.lengths)
    later = candidates._replace(request_timestamp=candidates.request_timestamp + 10**8)
    moved = tokens.candidates(history, reads, later, item_NE) != tokens.candidates(history, reads, candidates, item_NE)
    assert moved.any(1).tolist() == [True, True, False, True, True]


def test_a_shared_history_dates_each_request_by_the_newest_event_that_it_sees():
    tokens, (history, candidates, _, _, item_NE) = make_tokens(), batch((5, 2), (1, 2))
    candidates = candidates._replace(
        lengths=torch.tensor([1, 1, 1]), request_timestamp=torch.full([3], 2 * 10**9), surface=torch.tensor([0, 2, 1])
    )
    reads = Reads(torch.tensor([0, 0, 1]), torch.tensor([3, 0, 2]))
    torch.testing.assert_close(
        tokens.candidates(history, reads, candidates, item_NE),
        candidate_tokens(tokens, history, candidates, item_NE, reads),
        rtol=1e-5,
        atol=1e-5,
    )


def test_actions_and_surfaces_are_read():
    tokens, (history, _, _, item_TE, _) = make_tokens(), batch()
    for field, size in (("action", 4), ("surface", 3)):
        codes = getattr(history, field)
        other = history._replace(**{field: (codes + 1) % size})
        assert (tokens.events(other, item_TE) != tokens.events(history, item_TE)).any(1).all()


def test_a_candidate_has_the_surface_of_its_request():
    tokens, (history, candidates, _, _, item_NE) = make_tokens(), batch()
    reads = own_histories(history.lengths)
    before = tokens.candidates(history, reads, candidates._replace(surface=torch.tensor([1, 0, 2])), item_NE)
    after = tokens.candidates(history, reads, candidates._replace(surface=torch.tensor([1, 2, 2])), item_NE)
    assert (before != after).any(1).tolist() == [False, False, True, False, False]


def test_a_request_without_a_surface_is_not_one_on_an_unknown_surface():
    # Towers that were trained before candidates had a surface keep their features.
    tokens, (history, candidates, _, _, item_NE) = make_tokens(), batch()
    reads, nowhere = own_histories(history.lengths), candidates._replace(surface=None)
    found = tokens.candidates(history, reads, nowhere, item_NE)
    torch.testing.assert_close(found, candidate_tokens(tokens, history, nowhere, item_NE), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        tokens.surface.weight[0] += 1
    assert torch.equal(tokens.candidates(history, reads, nowhere, item_NE), found)


def test_unknown_codes_have_vectors_of_their_own():
    tokens = make_tokens()
    # Codes 0..3 of three actions, and one more that says "a candidate".
    assert tokens.action.num_embeddings == 5
    assert tokens.candidate_action == 4
    assert tokens.surface.num_embeddings == 3


def test_without_time_no_token_depends_on_it():
    tokens = make_tokens(time="none")
    history, candidates, _, item_TE, item_NE = batch()
    later = history._replace(timestamp=history.timestamp * 3 + torch.arange(len(history.timestamp)) ** 2)
    reads = own_histories(history.lengths)
    assert torch.equal(tokens.events(history, item_TE), tokens.events(later, item_TE))
    assert torch.equal(
        tokens.candidates(history, reads, candidates, item_NE), tokens.candidates(later, reads, candidates, item_NE)
    )
    assert not torch.equal(make_tokens().events(history, item_TE), make_tokens().events(later, item_TE))


def test_tokens_drop_out_in_training_alone():
    tokens = make_tokens(token_dropout=0.5)
    history, _, _, item_TE, _ = batch()
    zeros = (tokens.train().events(history, item_TE) == 0).float().mean()
    assert 0.2 < zeros < 0.8
    assert tokens.eval().events(history, item_TE).all()
