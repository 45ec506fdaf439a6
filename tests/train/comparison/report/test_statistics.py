"""Intervals and rank correlations against scipy, and against numbers worked out by hand."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pinfm.train.comparison.report.statistics import (
    Difference,
    kendall_tau_b,
    paired_difference,
    rank_stability,
    student_distribution,
    student_quantile,
)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30])
def test_students_quantile_is_that_of_scipy(freedom):
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    for t in (0.0, 0.5, 3.0):
        assert student_distribution(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
def test_tau_is_that_of_scipy(pairs):
    ours, theirs = zip(*pairs, strict=True)
    expected = stats.kendalltau(ours, theirs).statistic
    assert kendall_tau_b(ours, theirs) == pytest.approx(expected, nan_ok=True)


def test_the_interval_is_that_of_a_paired_t_test():
    ours, theirs = [0.75, 0.77, 0.76, 0.75], [0.74, 0.74, 0.75, 0.745]
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    difference = paired_difference(ours, theirs)
    assert difference.mean == pytest.approx(statistics.mean([0.01, 0.03, 0.01, 0.005]))
    assert difference.mean - difference.half == pytest.approx(interval.low)
    assert difference.mean + difference.half == pytest.approx(interval.high)


@pytest.mark.parametrize(
    ("mean", "half", "verdict"),
    [(0.2, 0.1, "shown"), (-0.2, 0.1, "refuted"), (0.1, 0.1, "cannot tell"), (0.2, None, "cannot tell")],
)
def test_a_verdict_follows_from_the_interval(mean, half, verdict):
    assert Difference(mean, half).verdict == verdict


def test_one_pair_has_no_interval():
    assert paired_difference([0.5], [0.25]) == Difference(0.25, None)


def test_stability_is_the_mean_over_pairs_of_seeds():
    # 1 for the seeds that agree, -1 for each of the two pairs with the third.
    assert rank_stability([[1, 2], [3, 4], [2, 1]]) == pytest.approx(-1 / 3)
    assert rank_stability([[1, 2]]) is None
    assert rank_stability([[1], [2]]) is None
    assert math.isnan(kendall_tau_b([1, 1], [1, 2]))
