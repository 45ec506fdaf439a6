"""Point-in-time counts against a loop over every row and every question."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.train.data.live.past import counts_before

# Few codes and moments, so that rows and questions meet in one second; some moments lie before 1970 and beyond 2**32.
MOMENTS = st.one_of(st.integers(-5, 30), st.integers(0, 30).map(lambda moment: moment + 2**33))
ROWS = st.lists(st.tuples(st.integers(0, 3), MOMENTS, st.integers(-2, 5), st.integers(0, 1)), max_size=40)
QUESTIONS = st.lists(st.tuples(st.integers(0, 4), MOMENTS), min_size=1, max_size=20)
WINDOWS = (1, 7, 2**34, None)


def columns(rows, width):
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def looped(rows, questions, windows):
    """(questions, windows, 2): each row is looked at for each question."""
    sums = np.zeros((len(questions), len(windows), 2), dtype=np.int64)
    for q, (wanted, moment) in enumerate(questions):
        for w, window in enumerate(windows):
            for code, time, *values in rows:
                if code == wanted and time < moment and (window is None or time >= moment - window):
                    sums[q, w] += values
    return sums


def summed(rows, questions, windows):
    code, time, *_ = columns(rows, 4).T
    asked, moment = columns(questions, 2).T
    values = columns(rows, 4)[:, 2:]
    return counts_before(code, time, asked, moment, windows_seconds=windows, values_NK=values)


@given(ROWS, QUESTIONS)
@settings(max_examples=200)
def test_sums_are_those_of_a_loop(rows, questions):
    np.testing.assert_array_equal(summed(rows, questions, WINDOWS), looped(rows, questions, WINDOWS))


@given(ROWS, QUESTIONS)
def test_without_values_rows_are_counted(rows, questions):
    code, time, *_ = columns(rows, 4).T
    counted = counts_before(code, time, *columns(questions, 2).T, windows_seconds=WINDOWS)
    ones = [(code, time, 1, 1) for code, time, *_ in rows]
    np.testing.assert_array_equal(counted[:, :, 0], looped(ones, questions, WINDOWS)[:, :, 0])


@given(ROWS, ROWS, QUESTIONS)
def test_the_sums_of_pieces_add_up(some, others, questions):
    pieces = summed(some, questions, WINDOWS) + summed(others, questions, WINDOWS)
    np.testing.assert_array_equal(pieces, summed(some + others, questions, WINDOWS))


@given(ROWS, ROWS, QUESTIONS)
def test_nothing_of_the_moment_or_after_it_is_counted(before, after, questions):
    latest = max(moment for _, moment in questions)
    later = [(code, latest + abs(time), *values) for code, time, *values in after]
    np.testing.assert_array_equal(summed(before + later, questions, WINDOWS), summed(before, questions, WINDOWS))
