"""Merging lists without times, spreading times over them, and cutting a log into requests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pinfm.train.data.sources.kuairand_sequences import merge, pad, spread_times
from pinfm.train.data.sources.sessions import split_at_repeats

rows = st.lists(st.tuples(st.lists(st.integers(0, 5), max_size=7), st.lists(st.integers(0, 5), max_size=7)), min_size=1)


def merged(pairs, level=2):
    """Merges pairs of rows; returns a list of (id, level) for each."""
    base, other = ([pair[side] for pair in pairs] for side in (0, 1))
    flat = [np.array([item for row in part for item in row], dtype=np.int64) for part in (base, other)]
    lengths = [np.array([len(row) for row in part]) for part in (base, other)]
    ids, levels, counts = merge(
        (flat[0], np.ones(len(flat[0]), dtype=np.int8), lengths[0]), (flat[1], lengths[1]), level
    )
    bounds = np.cumsum(counts)[:-1]
    return [
        list(zip(i.tolist(), v.tolist(), strict=True))
        for i, v in zip(np.split(ids, bounds), np.split(levels, bounds), strict=True)
    ]


def longest_common(a, b):
    """Length of the longest common subsequence, by the obvious recursion."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + longest_common(a[:-1], b[:-1])
    return max(longest_common(a[:-1], b), longest_common(a, b[:-1]))


def test_a_stronger_action_takes_the_newest_place():
    assert merged([([7, 7, 9], [7])]) == [[(7, 1), (7, 2), (9, 1)]]


def test_ids_without_a_partner_are_older():
    assert merged([([1, 2, 3, 4], [8, 9, 3, 4])]) == [[(8, 2), (9, 2), (1, 1), (2, 1), (3, 2), (4, 2)]]


def test_an_empty_side_changes_nothing():
    assert merged([([], [5, 6]), ([5], []), ([], [])]) == [[(5, 2), (6, 2)], [(5, 1)], []]


@given(rows)
def test_both_lists_keep_their_order_and_match_as_much_as_they_can(pairs):
    for (base, other), row in zip(pairs, merged(pairs), strict=True):
        ids = [item for item, _ in row]
        assert [item for item, level in row if level == 2] == other
        assert len(ids) == len(base) + len(other) - longest_common(base, other)
        assert is_subsequence(base, ids)


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(item in rest for item in part)


def test_rows_are_padded_on_the_right():
    assert pad(np.array([1, 2, 3]), np.array([2, 0, 1]), -1).tolist() == [[1, 2], [-1, -1], [3, -1]]


def test_times_are_even_and_end_at_the_last():
    times = spread_times(np.array([3, 1, 0]), np.array([10, 1, 4]), 1000, np.array([2000, 1500, 1700]))
    assert times.tolist() == [1800, 1900, 2000, 1500]


def test_times_never_precede_the_first_day():
    times = spread_times(np.array([4]), np.array([1]), 1000, np.array([1003]))
    assert times.tolist() == [1000, 1001, 1002, 1003]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=30))
def test_requests_are_cut_at_repeats(log):
    log.sort(key=lambda row: row[0])
    sessions, items = (np.array([row[side] for row in log], dtype=np.int64) for side in (0, 1))
    expected, shown, last = [], set(), None
    for session, item in log:
        if session != last or item in shown:
            expected.append(1 + expected[-1] if expected else 0)
            shown = set()
        else:
            expected.append(expected[-1])
        shown.add(item)
        last = session
    assert split_at_repeats(sessions, items).tolist() == expected
