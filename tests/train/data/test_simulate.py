"""The simulated world: deterministic, independent of its other users, and with the effects that it promises."""

from pathlib import Path

import numpy as np
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.sources.world import BLOCK_USERS, DAY, START, World, WorldSize

TINY = {"num_users": 60, "num_items": 300, "num_days": 10, "requests_per_user": 8.0, "content_dim": 4}


def world(num_users: int = 1500, seed: int = 0) -> World:
    size = WorldSize(
        num_users=num_users,
        num_items=400,
        num_days=10,
        requests_per_user=5.0,
        candidates_per_request=6,
        content_dim=4,
    )
    return World(size, seed)


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_seed_fixes_every_byte(tmp_path):
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        prepare(Simulate(**TINY, seed=seed), tmp_path / out, PrepareOptions(num_buckets=2))
    first, second, third = (files(tmp_path / out) for out in ("a", "b", "c"))
    assert first == second
    assert first.keys() == third.keys()
    assert all(first[path] != third[path] for path in first if path.suffix == ".parquet")


def test_a_block_does_not_depend_on_the_others():
    many, more = world(1500).block(0), world(9000).block(0)
    assert set(many.user_N.tolist()) == set(range(BLOCK_USERS))
    for left, right in zip(many, more, strict=True):
        assert np.array_equal(left, right)
    assert world(1500).num_blocks == 2
    assert world(1500).block(1).user_N.max() == 1499


def test_items_are_shown_after_their_birth_and_until_the_last_day():
    simulated = world()
    shown = simulated.block(0)
    created_N = simulated.items.created_I[shown.item_N]
    assert (created_N <= shown.timestamp_N).all()
    last_day_N = shown.timestamp_N >= START + 9 * DAY
    assert (created_N[last_day_N] >= START + 8 * DAY).any()
    age_N = (shown.timestamp_N - created_N) / DAY
    assert np.median(age_N) < np.median((START + 9 * DAY - simulated.items.created_I) / DAY)


def test_a_request_shows_an_item_once():
    shown = world().block(0)
    pairs = set(zip(shown.request_N.tolist(), shown.item_N.tolist(), strict=True))
    assert len(pairs) == len(shown.item_N)


def test_feedback_follows_quality_and_intent():
    simulated = world()
    shown = simulated.block(0)
    quality_N = simulated.items.quality_I[shown.item_N]
    assert quality_N[shown.click_N].mean() > quality_N.mean() > quality_N[shown.hide_N].mean()
    assert not (shown.save_N & ~shown.click_N).any()
    assert not (shown.hide_N & shown.click_N).any()
    assert 0.05 < shown.click_N.mean() < 0.6


def test_it_is_prepared_like_any_log(tmp_path):
    prepare(Simulate(**TINY), tmp_path / "out", PrepareOptions(num_buckets=2))
    dataset = PreparedDataset.open(tmp_path / "out")
    info = dataset.info
    assert info.schema.content_dim == 4
    assert info.schema.positive_actions == ("click", "save")
    assert info.splits["test"][0] == START + 9 * DAY
    assert min(info.counts.requests.values()) > 0
    assert sum(info.counts.impressions.values()) == info.counts.source["impressions"]
    assert info.counts.events == info.counts.source["events"]
    assert len(dataset.items()) == 300


def test_content_may_be_left_out(tmp_path):
    prepare(Simulate(**{**TINY, "content_dim": 0}), tmp_path / "out", PrepareOptions(num_buckets=1))
    dataset = PreparedDataset.open(tmp_path / "out")
    assert dataset.info.schema.content_dim == 0
    assert "content" not in dataset.items().schema.names


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"num_users": 0}, r"num_users \(0\) must be at least 1"),
        ({"num_days": 2}, r"num_days \(2\) must be at least 3"),
        ({"num_days": 400}, r"num_days \(400\) must be at most 365"),
        ({"requests_per_user": 0.5}, r"requests_per_user \(0.5\) must lie between 1 and 100,000"),
    ],
)
def test_a_size_out_of_range_is_an_error(fields, match):
    with pytest.raises(UserError, match=match):
        Simulate(**fields)
