"""What rounding costs in AUC, and how well the kept requests tell."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pinfm.inference.parity import auc_change, jackknife_error

ROWS = 4000


@pytest.fixture
def scored():
    """Labels, scores that tell something of them, and the same scores rounded."""
    rng = np.random.default_rng(0)
    labels = (rng.random(ROWS) < 0.2).astype(np.float32)
    theirs = (labels + rng.normal(0, 1.5, ROWS)).astype(np.float32)
    return labels, theirs, (theirs + rng.normal(0, 0.4, ROWS)).astype(np.float32)


def test_the_change_is_the_difference_of_two_aucs(scored):
    labels, theirs, ours = scored
    expected = roc_auc_score(labels, ours) - roc_auc_score(labels, theirs)
    assert auc_change(ours, theirs, labels) == pytest.approx(expected, abs=1e-6)
    assert auc_change(ours, theirs, np.ones_like(labels)) is None


def test_its_error_is_that_of_drawing_the_rows_again(scored):
    labels, theirs, ours = scored
    rng = np.random.default_rng(1)
    drawn = (rng.integers(0, ROWS, ROWS) for _ in range(200))
    changes = [auc_change(ours[rows], theirs[rows], labels[rows]) for rows in drawn]
    part = np.arange(ROWS) * 20 // ROWS
    assert jackknife_error(ours, theirs, labels, part) == pytest.approx(np.std(changes), rel=0.5)
    assert jackknife_error(theirs, theirs, labels, part) == 0


def test_a_part_that_holds_all_positives_tells_nothing_of_the_error(scored):
    _, theirs, ours = scored
    part = np.arange(ROWS) * 20 // ROWS
    assert jackknife_error(ours, theirs, (part == 3).astype(np.float32), part) is None
    assert jackknife_error(ours, theirs, (part == 3).astype(np.float32), np.zeros_like(part)) is None
