"""The made-up log of benchmarks/pretrain_speed.py has the shape that it says, and two builds are told apart."""

import pytest

from benchmarks.pretrain_speed import ITEMS, LONGEST, USERS, row_of, sparse_log


def test_the_log_is_sparse_with_a_long_tail():
    log = sparse_log()
    lengths = log.groupby("user_id").size()
    assert len(lengths) == USERS
    assert (lengths.min(), lengths.median()) == (5, 6)
    assert 100 < lengths.max() <= LONGEST
    assert log["item_id"].between(1, ITEMS).all()
    assert log["item_id"].nunique() > 0.95 * ITEMS
    assert log.equals(sparse_log())


def test_the_ratio_is_of_this_build_to_the_other():
    row = row_of("a", {"this": {"per_s": 30.0, "per_cpu_s": 40.0}, "that": {"per_s": 10.0, "per_cpu_s": 20.0}})
    assert row["ratio"] == pytest.approx(3.0)
    assert row["ratio of CPU"] == pytest.approx(2.0)
    assert "ratio" not in row_of("a", {"this": {"per_s": 30.0, "per_cpu_s": 40.0}})
