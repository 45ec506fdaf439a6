"""Overlap and rank-biased overlap against values worked out by hand, and against loops over prefixes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.parts.robustness.lists import overlap, places, rank_biased_overlap

RANKINGS = st.integers(1, 12).flatmap(lambda n: st.tuples(*(st.permutations(range(n)) for _ in range(2))))


def rbo_by_prefixes(ours, theirs, p):
    """Webber et al., equation 32, with sets."""
    agreement = [len(set(ours[:d]) & set(theirs[:d])) / d for d in range(1, len(ours) + 1)]
    series = sum(a * p**d for d, a in enumerate(agreement, start=1))
    return agreement[-1] * p ** len(ours) + (1 - p) / p * series


def test_places_are_stable():
    assert places(torch.tensor([[0.1, 0.9, 0.1, 0.5]])).tolist() == [[1, 3, 0, 2]]


def test_overlap_of_tops():
    ours = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])
    theirs = torch.tensor([[3, 0, 1, 2], [2, 3, 0, 1]])
    assert overlap(ours, theirs, 2).tolist() == [0.5, 0.0]
    assert overlap(ours, theirs, 3).tolist() == [pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert overlap(ours, theirs, 4).tolist() == [1.0, 1.0]


def test_rank_biased_overlap_by_hand():
    # Two items that change places: agreement 0, then 1; (1 - p) / p * p^2 + p^2 at p = 0.9.
    swapped = rank_biased_overlap(torch.tensor([[0, 1]]), torch.tensor([[1, 0]]))
    assert swapped.tolist() == pytest.approx([0.1 / 0.9 * 0.81 + 0.81])
    same = torch.tensor([[4, 2, 0, 1, 3]])
    assert rank_biased_overlap(same, same).tolist() == pytest.approx([1.0])
    assert rank_biased_overlap(torch.tensor([[0, 1]]), torch.tensor([[2, 3]])).tolist() == [0.0]


@given(RANKINGS, st.floats(0.05, 0.95))
def test_rank_biased_overlap_equals_loops(rankings, p):
    ours, theirs = rankings
    found = rank_biased_overlap(torch.tensor([ours]), torch.tensor([theirs]), p)
    assert found.item() == pytest.approx(rbo_by_prefixes(ours, theirs, p))


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5])
def test_a_reader_who_goes_on_for_ever_is_refused(p):
    with pytest.raises(ValueError, match=r"must lie between 0 and 1"):
        rank_biased_overlap(torch.tensor([[0]]), torch.tensor([[0]]), p)
