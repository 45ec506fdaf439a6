"""HIT@3 and the reciprocal rank against an average over every order of the tied candidates."""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.train.metrics import TaskRows, hit_metrics, tied_runs
from pinfm.train.metrics.hits import expected_hits, expected_reciprocal_ranks, reciprocal_rank_metrics
from pinfm.train.metrics.inputs import Impressions

CANDIDATES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3]), st.booleans(), st.booleans()),
    min_size=1,
    max_size=40,
)


def columns(rows):
    request, p, y, in_slice = zip(*rows, strict=True)
    return torch.tensor(request), torch.tensor(p), torch.tensor(y), torch.tensor(in_slice)


def cut(rows):
    """The slice of a task; users and ages, which are not read here, are anything."""
    request_N, p_N, y_N, slice_N = columns(rows)
    rows = Impressions(user_id_N=request_N, request_N=request_N, age_seconds_N=p_N, unseen_N=y_N)
    return TaskRows(p_N, y_N, rows).cut(slice_N)


def hits(rows, k=3):
    return hit_metrics(cut(rows), k)


def averaged_hit(p, y, k):
    """The obvious reference: every order of the candidates, stably sorted by score."""
    orders = list(permutations(range(len(p))))
    found = [any(y[i] for i in sorted(order, key=lambda i: -p[i])[:k]) for order in orders]
    return sum(found) / len(orders)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=60)
def test_hit_is_the_average_over_all_orders_of_tied_candidates(candidates, k):
    p, y = zip(*candidates, strict=True)
    runs = tied_runs(torch.tensor(p), torch.zeros(len(p), dtype=torch.int64))
    got = expected_hits(runs, torch.tensor(y), k)
    assert got.tolist() == [pytest.approx(averaged_hit(p, y, k))]


@given(CANDIDATES, st.randoms(use_true_random=False))
def test_shuffled_rows_hit_as_often(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert hits(shuffled) == pytest.approx(hits(rows), nan_ok=True)


@given(CANDIDATES)
def test_means_and_counts_equal_a_loop_over_requests(rows):
    all_hits, positive_hits, hard_hits, single, positive_single = [], [], [], 0, 0
    for request in sorted({row[0] for row in rows}):
        mine = [row for row in rows if row[0] == request]
        if not any(in_slice for *_, in_slice in mine):
            continue
        request_N, p_N, y_N, slice_N = columns(mine)
        hit = expected_hits(tied_runs(p_N, request_N), y_N & slice_N, 3).item()
        if len(mine) == 1:
            single += 1
            positive_single += int((y_N & slice_N).any())
            continue
        all_hits.append(hit)
        if (y_N & slice_N).any():
            positive_hits.append(hit)
            hard_hits += [hit] if len(mine) > 3 else []
    got = hits(rows)
    assert got["requests_single"] == single
    for name, count, found in [
        ("hit3", got["requests_positive"] - positive_single, positive_hits),
        ("hit3_all", got["requests"] - single, all_hits),
        ("hit3_hard", got["requests_hard"], hard_hits),
    ]:
        assert count == len(found)
        assert got[name] == pytest.approx(sum(found) / len(found) if found else math.nan, nan_ok=True)


def test_a_constant_score_earns_chance_whichever_row_is_positive():
    for positive in range(12):
        rows = [(0, 0.5, row == positive, True) for row in range(12)]
        assert hits(rows)["hit3_hard"] == pytest.approx(3 / 12)


def test_a_request_of_three_is_a_hit_but_not_a_hard_one():
    got = hits([(0, 0.1, True, True), (0, 0.8, False, True), (0, 0.9, False, True)])
    assert got["hit3"] == 1.0
    assert got["requests_hard"] == 0
    assert math.isnan(got["hit3_hard"])


def test_a_request_without_a_positive_counts_in_hit3_all_only():
    got = hits([(0, 0.1, True, True), (0, 0.2, False, True), (1, 0.8, False, True), (1, 0.7, False, True)])
    assert (got["hit3"], got["hit3_all"]) == (1.0, 0.5)


def test_a_request_of_one_candidate_is_no_hit_and_no_miss():
    lone = [(0, 0.1, True, True), (1, 0.8, False, True)]
    got = hits(lone)
    assert all(math.isnan(got[name]) for name in ("hit3", "hit3_all", "hit3_hard"))
    assert (got["requests"], got["requests_single"], got["requests_positive"]) == (2, 2, 1)
    assert math.isnan(hits(lone, k=1)["hit1"])
    missed = [(2, 0.9 - place / 10, place == 3, True) for place in range(4)]
    assert hits([*lone, *missed])["hit3"] == hits(missed)["hit3"] == 0.0


def test_candidates_outside_the_slice_still_compete_and_cannot_be_hit():
    outside = [(0, 0.9, True, False), (0, 0.8, False, False), (0, 0.7, False, False)]
    got = hits([*outside, (0, 0.1, True, True)])
    assert (got["hit3"], got["requests_hard"]) == (0.0, 1)  # the slice's positive is fourth; the hit is not its own
    assert hits([*outside[:2], (0, 0.1, True, True)])["hit3"] == 1.0


def test_an_empty_slice_has_no_requests():
    got = hits([(0, 0.9, True, False)])
    assert got["requests"] == got["requests_positive"] == 0
    assert math.isnan(got["hit3_all"])


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match=r"k \(0\) must be at least 1"):
        hits([(0, 0.9, True, True)], k=0)


def averaged_reciprocal_rank(p, y):
    """The obvious reference: every order of the candidates, stably sorted by score."""
    if not any(y):
        return 0.0
    orders = list(permutations(range(len(p))))
    found = [[y[i] for i in sorted(order, key=lambda i: -p[i])].index(True) for order in orders]
    return sum(1 / (place + 1) for place in found) / len(orders)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60)
def test_the_reciprocal_rank_is_the_average_over_all_orders_of_tied_candidates(candidates):
    p, y = zip(*candidates, strict=True)
    runs = tied_runs(torch.tensor(p), torch.zeros(len(p), dtype=torch.int64))
    got = expected_reciprocal_ranks(runs, torch.tensor(y))
    assert got.tolist() == [pytest.approx(averaged_reciprocal_rank(p, y))]


@given(CANDIDATES)
def test_mrr_equals_a_loop_over_contested_requests(rows):
    ranks = []
    for request in {row[0] for row in rows}:
        request_N, p_N, y_N, slice_N = columns([row for row in rows if row[0] == request])
        if len(p_N) > 1 and (y_N & slice_N).any():
            ranks += expected_reciprocal_ranks(tied_runs(p_N, request_N), y_N & slice_N).tolist()
    got = reciprocal_rank_metrics(cut(rows))
    assert got["requests_contested"] == len(ranks)
    assert got["mrr"] == pytest.approx(sum(ranks) / len(ranks) if ranks else math.nan, nan_ok=True)


def test_a_lone_candidate_is_no_contest():
    got = reciprocal_rank_metrics(cut([(0, 0.9, True, True), (1, 0.2, True, True), (1, 0.3, False, True)]))
    assert got == {"mrr": 0.5, "requests_contested": 1}
