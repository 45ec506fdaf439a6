"""HR@k and NDCG@k against scikit-learn and against an average over the orders of tied items."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from pinfm.embeddings.errors import UserError
from pinfm.train.metrics import RetrievalMetrics


def looped(scores_BV, target_B, excluded_BV, k):
    """Each query, each rank that its target may take among the items it ties with."""
    hr, ndcg, rank_sum = 0.0, 0.0, 0.0
    for scores, target, excluded in zip(scores_BV, target_B, excluded_BV, strict=True):
        rivals = [score for i, score in enumerate(scores) if i != target and not excluded[i]]
        higher = sum(score > scores[target] for score in rivals)
        ranks = range(higher, higher + sum(score == scores[target] for score in rivals) + 1)
        hr += np.mean([rank < k for rank in ranks])
        ndcg += np.mean([1 / math.log2(rank + 2) if rank < k else 0.0 for rank in ranks])
        rank_sum += np.mean(ranks)
    return np.array([hr, ndcg, rank_sum]) / len(target_B)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_metrics_equal_a_loop_with_ties_and_exclusions(seed, k):
    random = np.random.default_rng(seed)
    scores_BV = random.integers(0, 4, (5, 9)) / 4
    target_B, excluded_BV = random.integers(0, 9, 5), random.random((5, 9)) < 0.3
    metrics = RetrievalMetrics(ks=(k,))
    metrics.update(scores_BV, target_B, excluded_BV)
    got = metrics.compute()
    expected = looped(scores_BV, target_B, excluded_BV, k)
    assert [got[f"hr@{k}"], got[f"ndcg@{k}"], got["mean_rank"]] == pytest.approx(expected)
    assert got["targets_excluded"] == excluded_BV[np.arange(5), target_B].sum()


def test_ndcg_equals_scikit_learn_without_ties():
    random = np.random.default_rng(3)
    scores_BV = random.permuted(np.tile(np.arange(50.0), (20, 1)), axis=1)
    target_B = random.integers(0, 50, 20)
    metrics = RetrievalMetrics(ks=(1, 10, 50))
    metrics.update(scores_BV, target_B)
    for k in (1, 10, 50):
        assert metrics.compute()[f"ndcg@{k}"] == pytest.approx(ndcg_score(np.eye(50)[target_B], scores_BV, k=k))


def test_batches_add_up_to_one_batch():
    generator = torch.Generator().manual_seed(4)
    scores_BV, target_B = torch.rand(8, 30, generator=generator), torch.arange(8)
    whole, parts = RetrievalMetrics(), RetrievalMetrics()
    whole.update(scores_BV, target_B)
    parts.update(scores_BV[:3], target_B[:3])
    parts.update(scores_BV[3:], target_B[3:])
    assert parts.compute() == pytest.approx(whole.compute())
    assert whole.compute()["queries"] == 8


@pytest.mark.parametrize("target", [0, 40, 199])
def test_a_constant_score_earns_chance_wherever_the_target_stands(target):
    metrics = RetrievalMetrics(ks=(10,))
    metrics.update(torch.zeros(1, 200), torch.tensor([target]))
    assert metrics.compute()["hr@10"] == pytest.approx(10 / 200)
    assert metrics.compute()["mean_rank"] == 99.5


def test_index_lists_exclude_what_their_mask_excludes():
    generator = torch.Generator().manual_seed(5)
    scores_BV, target_B = torch.rand(3, 20, generator=generator), torch.tensor([4, 5, 6])
    lists = [torch.tensor([1, 2, 2, 9]), torch.tensor([], dtype=torch.int64), np.array([19, 6])]
    mask_BV = torch.zeros(3, 20, dtype=torch.bool)
    mask_BV[[0, 0, 0, 2, 2], [1, 2, 9, 19, 6]] = True
    by_list, by_mask = RetrievalMetrics(ks=(1, 5)), RetrievalMetrics(ks=(1, 5))
    by_list.update(scores_BV, target_B, lists)
    by_mask.update(scores_BV, target_B, mask_BV)
    assert by_list.compute() == by_mask.compute()
    assert by_list.compute()["targets_excluded"] == 1


def test_an_excluded_rival_moves_the_target_up():
    metrics = RetrievalMetrics(ks=(1,))
    metrics.update(torch.tensor([[0.9, 0.5]]), torch.tensor([1]), [[0]])
    assert metrics.compute()["hr@1"] == 1.0


def test_before_the_first_query_the_averages_are_null():
    assert RetrievalMetrics(ks=(1,)).compute() == {
        "queries": 0,
        "targets_excluded": 0,
        "mean_rank": None,
        "hr@1": None,
        "ndcg@1": None,
    }


@pytest.mark.parametrize("ks", [(), (10, 0)])
def test_cut_offs_below_one_are_refused(ks):
    with pytest.raises(ValueError, match="must hold at least one cut-off, each at least 1"):
        RetrievalMetrics(ks=ks)


SCORES, TARGET = torch.zeros(2, 3), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("scores", "target", "excluded", "message"),
    [
        (SCORES[0], TARGET, None, r"scores_BV has shape \(3,\) and target_B \(2,\); expected \(B, V\)"),
        (SCORES, TARGET[:1], None, r"scores_BV has shape \(2, 3\) and target_B \(1,\)"),
        (SCORES, torch.tensor([0, 3]), None, "target_B holds item index 3; the catalogue has indices 0 to 2"),
        (SCORES, torch.tensor([-1, 0]), None, "target_B holds item index -1"),
        (SCORES, TARGET, SCORES, r"excluded is torch.float32 of shape \(2, 3\); expected torch.bool"),
        (SCORES, TARGET, SCORES[:1].bool(), r"excluded is torch.bool of shape \(1, 3\)"),
        (SCORES, TARGET, [[0]], r"excluded has 1 lists for 2 queries"),
        (SCORES, TARGET, [[0], [5]], "excluded holds item index 5"),
    ],
)
def test_what_does_not_fit_together_is_named(scores, target, excluded, message):
    with pytest.raises(ValueError, match=message):
        RetrievalMetrics().update(scores, target, excluded)


def test_a_nan_score_is_named():
    scores_BV = torch.zeros(2, 3)
    scores_BV[1, 2] = float("nan")
    with pytest.raises(UserError, match=r"scores_BV\[1, 2\] is NaN"):
        RetrievalMetrics().update(scores_BV, TARGET)
