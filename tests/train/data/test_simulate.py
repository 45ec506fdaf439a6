"""The simulated world: deterministic, independent of its other users, and with the effects that it promises."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.sources.simulated.items import DAY, HOUR, START, WorldSize
from pinfm.train.data.sources.simulated.lives import Hours
from pinfm.train.data.sources.simulated.world import BLOCK_USERS, World

TINY = {"num_users": 60, "num_items": 300, "num_days": 10, "requests_per_user": 8.0, "content_dim": 4}


HOURS = {"item_life_hours": 6.0, "burst_scale": 1.0}


def world(num_users: int = 1500, seed: int = 0, **lives: float) -> World:
    size = WorldSize(
        num_users=num_users,
        num_items=400,
        num_days=10,
        requests_per_user=5.0,
        candidates_per_request=6,
        content_dim=4,
        **lives,
    )
    return World(size, seed)


def files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lives", [{}, HOURS], ids=["weeks", "hours"])
def test_a_seed_fixes_every_byte(tmp_path, lives):
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        prepare(Simulate(**TINY, **lives, seed=seed), tmp_path / out, PrepareOptions(num_buckets=2))
    first, second, third = (files(tmp_path / out) for out in ("a", "b", "c"))
    assert first == second
    assert first.keys() == third.keys()
    assert all(first[path] != third[path] for path in first if path.suffix == ".parquet")


def test_worlds_of_weeks_are_those_that_they_have_always_been():
    simulated = world()
    digest = hashlib.sha256(simulated.items.created_I.tobytes())
    for block in range(simulated.num_blocks):
        # Whole numbers and truth values alone: their bytes are the same on every processor.
        columns = [column for column in simulated.block(block) if column.dtype != np.float64]
        assert len(columns) == 9
        for column in columns:
            digest.update(column.tobytes())
    assert digest.hexdigest() == "0e6419870226c9adeee05ba0fe8202b2709fd56750322a86e8a282a539c45d81"


@pytest.mark.parametrize("lives", [{}, HOURS], ids=["weeks", "hours"])
def test_a_block_does_not_depend_on_the_others(lives):
    many, more = world(1500, **lives).block(0), world(9000, **lives).block(0)
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


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    item_life_hours=st.floats(0.5, 168),
    burst_scale=st.floats(0, 3),
    items=st.integers(1, 60),
)
def test_items_that_live_hours_are_shown_while_they_live(seed, item_life_hours, burst_scale, items):
    source = Simulate(
        num_users=40,
        num_items=items,
        num_days=4,
        requests_per_user=6.0,
        item_life_hours=item_life_hours,
        burst_scale=burst_scale,
        seed=seed,
    )
    simulated = source.world()
    shown = simulated.block(0)
    assert set(shown.item_N.tolist()) <= set(range(items))
    assert (simulated.items.created_I[shown.item_N] <= shown.timestamp_N).all()
    assert shown.timestamp_N.min() >= START
    assert shown.timestamp_N.max() < START + 4 * DAY


def test_an_item_that_lives_hours_is_shown_half_as_often_after_a_half_life():
    lives = Hours(
        num_days=2,
        born_day_I=np.array([0.0, 6 / 24]),
        half_life_I=np.array([6.0, 6.0]),
        height_IB=np.zeros((2, 3)),
        middle_IB=np.zeros((2, 3)),
        width_IB=np.ones((2, 3)),
    )
    quality_I = np.zeros(2)
    assert lives.attention(5, quality_I).tolist() == [1, 0]
    older, newer = lives.attention(6, quality_I)
    assert older / newer == pytest.approx(0.5, rel=0.01)
    older, newer = lives.attention(12, quality_I)
    assert older / newer == pytest.approx(0.5, rel=0.01)


def test_a_burst_rises_falls_and_moves_exposure_like_clicks():
    lives = Hours(
        num_days=2,
        born_day_I=np.zeros(2),
        half_life_I=np.array([24.0, 24.0]),
        height_IB=np.array([[2.0, 0, 0], [0, 0, 0]]),
        middle_IB=np.full((2, 3), 10.5),
        width_IB=np.full((2, 3), 2.0),
    )
    heat_P = lives.heat(np.zeros(24, dtype=int), np.arange(24))
    assert heat_P.argmax() == 10
    assert (np.diff(heat_P[:11]) > 0).all()
    assert (np.diff(heat_P[10:]) < 0).all()
    assert heat_P[10] - heat_P[23] == pytest.approx(2, abs=1e-6)
    hot, other = lives.attention(10, np.zeros(2))
    assert hot / other == pytest.approx(np.exp(2))


def test_only_the_moment_tells_how_hot_an_item_is():
    """Clicks follow heat, which moves within an item's day and is not told by its lasting quality."""
    simulated = world(8000, **HOURS)
    shown = simulated.block(0)
    heat_N = simulated.lives.heat(shown.item_N, (shown.timestamp_N - START) // HOUR)
    assert heat_N[shown.click_N].mean() > heat_N[~shown.click_N].mean() + 0.5
    born_I = np.ceil(24 * np.maximum(simulated.lives.born_day_I, 0)).astype(int)
    heat_IH = np.stack([simulated.lives.heat(np.arange(400), born_I + hour) for hour in range(24)], axis=1)
    assert np.median(heat_IH.std(axis=1)) > 0.5 * np.median(heat_IH.mean(axis=1) + 2)
    assert abs(np.corrcoef(heat_IH.mean(axis=1), simulated.items.quality_I)[0, 1]) < 0.2


def test_a_day_that_counts_hours_has_a_night():
    hour_N = world(4000, **HOURS).block(0).timestamp_N % DAY // HOUR
    counts_24 = np.bincount(hour_N, minlength=24)
    assert counts_24[12:18].sum() > 4 * counts_24[0:6].sum()


def test_the_chance_of_a_click_is_the_ceiling():
    shown = world(**HOURS).block(0)
    assert shown.click_N.mean() == pytest.approx(shown.chance_N.mean(), abs=0.01)
    sure_N = shown.chance_N > np.quantile(shown.chance_N, 0.9)
    assert shown.click_N[sure_N].mean() == pytest.approx(shown.chance_N[sure_N].mean(), abs=0.03)


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


def test_a_world_has_as_many_surfaces_as_are_asked_for(tmp_path):
    prepare(Simulate(**TINY, num_surfaces=5), tmp_path / "out", PrepareOptions(num_buckets=1))
    surfaces = PreparedDataset.open(tmp_path / "out").info.schema.surfaces
    assert set(surfaces) == {"home", "related", "search", "surface_3", "surface_4"}
    shown = world(num_surfaces=5).block(0)
    rates = [shown.chance_N[shown.surface_N == place].mean() for place in range(5)]
    # The farther down the list, the fewer clicks.
    assert rates[0] > rates[2] > rates[4]


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"num_users": 0}, r"num_users \(0\) must be at least 1"),
        ({"num_surfaces": 0}, r"num_surfaces \(0\) must be at least 1"),
        ({"num_days": 2}, r"num_days \(2\) must be at least 3"),
        ({"num_days": 400}, r"num_days \(400\) must be at most 365"),
        ({"item_life_hours": 0.1}, r"item_life_hours \(0.1\) must lie between 0.5 and 168, or be 0 for items"),
        ({"item_life_hours": 400.0}, r"item_life_hours \(400.0\) must lie between 0.5 and 168"),
        ({"item_life_hours": 6.0, "burst_scale": 4.0}, r"burst_scale \(4.0\) must lie between 0 and 3"),
        ({"burst_scale": 1.0}, r"burst_scale \(1.0\) is of items that live hours; give item_life_hours"),
        ({"requests_per_user": 0.5}, r"requests_per_user \(0.5\) must lie between 1 and 100,000"),
    ],
)
def test_a_size_out_of_range_is_an_error(fields, match):
    with pytest.raises(UserError, match=match):
        Simulate(**fields)
