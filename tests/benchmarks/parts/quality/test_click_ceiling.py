"""The ceiling of a simulated world: judged on the impressions of the prepared split, and above any other score."""

import numpy as np
import pytest

from benchmarks.parts.quality.click_ceiling import click_ceiling
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.simulate import Simulate

SOURCE = Simulate(
    num_users=200,
    num_items=150,
    num_days=5,
    requests_per_user=20.0,
    item_life_hours=4.0,
    burst_scale=1.0,
    content_dim=0,
)


def test_the_ceiling_is_of_the_splits_impressions(tmp_path):
    prepare(SOURCE, tmp_path / "out", PrepareOptions(num_buckets=2))
    dataset = PreparedDataset.open(tmp_path / "out")
    ceiling = click_ceiling(SOURCE, dataset, "test")
    assert ceiling["impressions"] == dataset.info.counts.impressions["test"]
    assert ceiling["requests"] == dataset.info.counts.requests["test"]
    shown = SOURCE.world().block(0)
    begin, end = dataset.info.splits["test"]
    test_N = (shown.timestamp_N >= begin) & (shown.timestamp_N < end)
    click_N, chance_N = shown.click_N[test_N], shown.chance_N[test_N]
    assert ceiling["auc"] == pytest.approx(_auc(chance_N, click_N), abs=1e-6)
    assert ceiling["ne"] < 1
    blurred_N = chance_N * np.exp(0.5 * np.random.default_rng(0).standard_normal(len(chance_N)))
    assert _auc(blurred_N, click_N) < ceiling["auc"]


def _auc(score_N, click_N):
    """Of all pairs, those in the right order; ties count one half."""
    clicked, other = score_N[click_N][:, None], score_N[~click_N][None]
    return float((clicked > other).mean() + 0.5 * (clicked == other).mean())
