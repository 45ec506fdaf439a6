"""AUC, grouped AUC, log loss and NE against scikit-learn, ties included."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from pinfm.train.metrics import auc, entropy_metrics, grouped_auc

# Few levels, so that most draws hold ties.
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0]), st.booleans(), st.integers(-2, 3)),
    min_size=1,
    max_size=60,
)


def columns(rows):
    p, y, user = zip(*rows, strict=True)
    return torch.tensor(p, dtype=torch.float64), torch.tensor(y), torch.tensor(user)


def looped_gauc(p, y, user):
    """The definition, user by user."""
    weighted, impressions, users, left_out = 0.0, 0, 0, 0
    for one in np.unique(user):
        mine = user == one
        if len(np.unique(y[mine])) < 2:
            left_out += 1
            continue
        weighted += mine.sum() * roc_auc_score(y[mine], p[mine])
        impressions += mine.sum()
        users += 1
    return weighted / impressions if users else math.nan, users, left_out, impressions


@given(ROWS)
def test_auc_equals_scikit_learn_with_ties(rows):
    p_N, y_N, _ = columns(rows)
    if y_N.all() or not y_N.any():
        assert math.isnan(auc(p_N, y_N))
    else:
        assert auc(p_N, y_N) == pytest.approx(roc_auc_score(y_N.numpy(), p_N.numpy()), abs=1e-6)


@given(ROWS)
def test_a_monotone_transform_changes_no_auc(rows):
    p_N, y_N, user_N = columns(rows)
    squeezed_N = 0.25 + p_N.sqrt() / 2
    assert auc(squeezed_N, y_N) == pytest.approx(auc(p_N, y_N), abs=1e-6, nan_ok=True)
    assert grouped_auc(squeezed_N, y_N, user_N) == pytest.approx(grouped_auc(p_N, y_N, user_N), nan_ok=True)


@given(ROWS)
def test_grouped_auc_equals_a_loop_over_users(rows):
    p_N, y_N, user_N = columns(rows)
    got = grouped_auc(p_N, y_N, user_N)
    gauc, users, left_out, impressions = looped_gauc(p_N.numpy(), y_N.numpy(), user_N.numpy())
    assert got["gauc"] == pytest.approx(gauc, nan_ok=True)
    assert (got["gauc_users"], got["gauc_users_left_out"], got["gauc_impressions"]) == (users, left_out, impressions)


def test_grouped_auc_weighs_users_by_impressions_and_counts_those_left_out():
    user_N = torch.tensor([5, 5, 9, 9, 9, 9, 1])
    y_N = torch.tensor([1, 0, 0, 0, 0, 1, 1]).bool()
    p_N = torch.tensor([0.9, 0.1, 0.8, 0.7, 0.6, 0.5, 0.4])  # user 5: AUC 1; user 9: AUC 0; user 1: one class
    assert grouped_auc(p_N, y_N, user_N) == {
        "gauc": pytest.approx(2 / 6),
        "gauc_users": 2,
        "gauc_users_left_out": 1,
        "gauc_impressions": 6,
    }


@pytest.mark.parametrize("y", [[True, False], [False, True]])
def test_a_constant_score_earns_one_half_whatever_the_row_order(y):
    p_N, y_N = torch.full((2,), 0.3), torch.tensor(y)
    assert auc(p_N, y_N) == 0.5
    assert grouped_auc(p_N, y_N, torch.tensor([4, 4]))["gauc"] == 0.5


def test_auc_stays_exact_on_many_rows():
    generator = torch.Generator().manual_seed(0)
    p_N = torch.rand(300_000, generator=generator)
    y_N = torch.rand(300_000, generator=generator) < 0.02 + 0.02 * p_N
    expected = roc_auc_score(y_N.numpy(), p_N.numpy())
    assert auc(p_N, y_N) == pytest.approx(expected, abs=1e-6)
    one_user_N = torch.zeros(300_000, dtype=torch.int64)
    assert grouped_auc(p_N, y_N, one_user_N)["gauc"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_entropy_equals_scikit_learn(dtype):
    generator = torch.Generator().manual_seed(1)
    p_N = torch.rand(500, generator=generator, dtype=dtype)
    y_N = torch.rand(500, generator=generator) < 0.3
    got = entropy_metrics(p_N, y_N)
    base_rate = np.full(500, y_N.double().mean().item())
    expected = log_loss(y_N.numpy(), p_N.double().numpy())
    assert got["logloss"] == pytest.approx(expected, rel=1e-9)
    assert got["ne"] == pytest.approx(expected / log_loss(y_N.numpy(), base_rate), rel=1e-9)


def test_the_base_rate_itself_has_a_normalised_entropy_of_one():
    y_N = torch.tensor([True, False, False, False])
    assert entropy_metrics(torch.full((4,), 0.25), y_N)["ne"] == pytest.approx(1.0)


def test_a_certain_and_wrong_prediction_costs_a_finite_loss():
    assert entropy_metrics(torch.tensor([1.0]), torch.tensor([False]))["logloss"] == pytest.approx(36.04, abs=0.01)


def test_entropy_leaves_the_predictions_as_they_were():
    p_N = torch.tensor([0.0, 1.0], dtype=torch.float64)
    entropy_metrics(p_N, torch.tensor([False, True]))
    assert p_N.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("positive", [True, False])
def test_one_class_leaves_a_log_loss_and_no_normalised_entropy(positive):
    got = entropy_metrics(torch.tensor([0.5, 0.5]), torch.tensor([positive, positive]))
    assert got["logloss"] == pytest.approx(math.log(2))
    assert math.isnan(got["ne"])
    assert math.isnan(auc(torch.tensor([0.2, 0.4]), torch.tensor([positive, positive])))
