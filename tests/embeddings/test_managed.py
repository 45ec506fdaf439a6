"""Managed ids: who has a row, since when, and what is left of a map that is written down and read."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.managed import ManagedIds
from pinfm.embeddings.rows import NO_ID
from pinfm.embeddings.specs import FeatureTableConfig, ItemTableConfig, ManagedIdsConfig

EVICTIONS = ("lfu", "lru", "distance_lfu", "time_to_live")
# Every eviction with every map that knows it.
KINDS = [*((eviction, "sorted") for eviction in EVICTIONS), ("lru", "mpzch"), ("time_to_live", "mpzch")]
# MPZCH is trained in each of these tests.
pytestmark = pytest.mark.usefixtures("mpzch_kernel")
both_maps = pytest.mark.parametrize("kind", ["sorted", "mpzch"])


def managed(num_rows=5, **fields):
    return ManagedIds(num_rows, ManagedIdsConfig(**{"min_count": 1, "update_steps": 1, **fields}))


def show(ids, *steps):
    """Shows the ids of each step; the rows that changed hands in each."""
    return [sorted(ids.observe(torch.tensor(step, dtype=torch.int64)).tolist()) for step in steps]


def owners(ids):
    return dict(zip(*(part.tolist() for part in ids.table()), strict=True))


@both_maps
def test_every_id_has_a_row_of_its_own_while_rows_are_free(kind):
    ids = managed(num_rows=5, eviction="lru", map=kind)
    wanted = torch.tensor([-1, -(2**63), 2**62, 0])
    assert ids.rows(wanted).tolist() == [4, 4, 4, 4]
    assert show(ids, wanted.tolist()) == [[0, 1, 2, 3]]
    assert sorted(ids.rows(wanted).tolist()) == [0, 1, 2, 3]
    assert ids.rows(torch.tensor([8])).tolist() == [4]
    assert ids.counters() == {"occupancy": 1.0, "hit_rate": 1.0, "waiting": 0, "admitted": 4, "evicted": 0}


@both_maps
def test_an_id_is_admitted_after_so_many_sightings(kind):
    ids = managed(min_count=3, eviction="lru", map=kind)
    assert [len(changed) for changed in show(ids, [1, 2, 1], [2], [1, 2])] == [0, 0, 2]
    assert ids.rows(torch.tensor([1, 2, 3])).max() == 4
    assert ids.num_ids() == 2


def test_the_map_changes_once_in_so_many_steps():
    ids = managed(update_steps=3)
    assert [len(changed) for changed in show(ids, [1], [2], [3], [4])] == [0, 0, 3, 0]
    assert ids.rows(torch.tensor([4])).tolist() == [4]


def test_the_least_frequent_makes_room():
    ids = managed(eviction="lfu")
    show(ids, [1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4])
    row_of_2 = owners(ids)[2]
    # Seen once, an id is not more frequent than any that has a row; three times is more than twice.
    assert show(ids, [9], [9, 9]) == [[], [row_of_2]]
    assert owners(ids)[9] == row_of_2
    assert ids.counters()["evicted"] == 1


@both_maps
def test_who_was_not_seen_for_longest_makes_room(kind):
    ids = managed(eviction="lru", map=kind)
    show(ids, [1, 1, 1, 2, 3, 4], [2, 3, 4])
    row_of_1 = owners(ids)[1]
    assert show(ids, [2, 3, 4, 9]) == [[row_of_1]]


def test_distance_weighs_frequency_and_time():
    ids = managed(eviction="distance_lfu")
    show(ids, [1] * 9 + [2, 3, 4], [2, 3, 4], [2, 3, 4], [2, 3, 4])
    # 9 sightings three updates ago score less than what was seen in each of four, once it is long enough ago.
    row_of_1 = owners(ids)[1]
    assert show(ids, [2, 3, 4], [2, 3, 4, 9, 9, 9]) == [[], [row_of_1]]


@pytest.mark.parametrize(("sightings", "makes_room"), [(3, False), (4, True)])
def test_an_equal_ratio_keeps_its_row(sightings, makes_room):
    ids = managed(eviction="distance_lfu")
    others = [2] * 9 + [3] * 9 + [4] * 9
    show(ids, [1] * 9 + others, others)
    row_of_1 = owners(ids)[1]
    # 9 sightings two updates ago are 3 of now, to the last digit.
    assert show(ids, others + [9] * sightings) == [[row_of_1] if makes_room else []]


@both_maps
def test_only_who_was_not_seen_for_its_time_makes_room(kind):
    ids = managed(eviction="time_to_live", time_to_live_updates=3, map=kind)
    show(ids, [1, 2, 3, 4])
    row_of_1 = owners(ids)[1]
    assert show(ids, [2, 3, 4, 9], [2, 3, 4, 9], [2, 3, 4, 9]) == [[], [], [row_of_1]]
    assert 1 not in owners(ids)


def test_more_ids_in_a_step_than_in_the_first_are_all_seen():
    ids = managed(num_rows=1001)
    show(ids, [1], list(range(1000)))
    assert ids.num_ids() == 1000


@pytest.mark.parametrize(("eviction", "kind"), [kind for kind in KINDS if kind != ("lfu", "sorted")])
def test_who_waits_unseen_takes_no_row(eviction, kind):
    ids = managed(num_rows=3, eviction=eviction, map=kind, time_to_live_updates=1)
    show(ids, [1, 2], [1, 2, 9], *[[1, 2]] * 20)
    assert show(ids, [2]) == [[]]
    assert set(owners(ids)) == {1, 2}


@both_maps
def test_the_id_that_marks_free_rows_has_none(kind):
    ids = managed(eviction="lru", map=kind)
    [[row_of_3]] = show(ids, [NO_ID, 3])
    assert ids.rows(torch.tensor([NO_ID, 3])).tolist() == [4, row_of_3]


def test_as_many_wait_as_there_are_rows():
    ids = managed(num_rows=3, min_count=9)
    show(ids, [1, 2, 2, 3, 3, 3, 4, 4, 4, 4])
    assert ids.counters()["waiting"] == 3
    show(ids, [1] * 8 + [4] * 5)  # 1 was forgotten, 4 was not
    assert list(owners(ids)) == [4]


STEPS = st.lists(st.lists(st.integers(0, 12), max_size=20), min_size=1, max_size=12)


@given(STEPS, st.sampled_from(KINDS), st.integers(1, 3), st.integers(1, 3), st.integers(2, 7), st.integers(0, 11))
@settings(max_examples=90)
def test_a_map_goes_on_from_its_state(steps, kind, min_count, update_steps, num_rows, cut):
    fields = {"num_rows": num_rows, "min_count": min_count, "update_steps": update_steps, "time_to_live_updates": 2}
    fields["eviction"], fields["map"] = kind
    whole, first, second = managed(**fields), managed(**fields), managed(**fields)
    changed = show(whole, *steps)
    begun = show(first, *steps[:cut])
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert begun + show(second, *steps[cut:]) == changed
    assert owners(second) == owners(whole)
    counters = {name: value for name, value in whole.counters().items() if name != "hit_rate"}  # of the last step
    assert counters.items() <= second.counters().items()


@given(STEPS, st.sampled_from(KINDS), st.integers(2, 7))
@settings(max_examples=90)
def test_no_two_ids_share_a_row_and_changes_are_told(steps, kind, num_rows):
    ids = managed(num_rows=num_rows, eviction=kind[0], map=kind[1], time_to_live_updates=2)
    before = {}
    for step in steps:
        [changed] = show(ids, step)
        after = owners(ids)
        assert len(set(after.values())) == len(after) <= num_rows - 1
        assert num_rows - 1 not in after.values()
        assert {row for id_, row in after.items() if before.get(id_) != row} == set(changed)
        found = ids.rows(torch.arange(13))
        assert found.tolist() == [after.get(id_, num_rows - 1) for id_ in range(13)]
        before = after


@both_maps
def test_ids_known_before_the_first_step_have_rows(kind):
    ids = managed(num_rows=4, min_count=0, eviction="lru", map=kind)
    ids.admit(torch.tensor([-7, 2, 5, 9]), torch.tensor([3, 0, 8, 2]))
    assert set(owners(ids)) == {-7, 5, 9}  # three rows beside the fallback: the most frequent have them
    assert ids.counters()["admitted"] == 3
    assert ids.rows(torch.tensor([2, 11])).tolist() == [3, 3]


def test_settings_below_their_bounds_are_refused():
    with pytest.raises(UserError, match=r"managed_ids\.min_count"):
        ManagedIdsConfig(min_count=-1)
    with pytest.raises(UserError, match=r"managed_ids\.update_steps"):
        ManagedIdsConfig(update_steps=0)
    with pytest.raises(UserError, match=r"managed_ids\.time_to_live_updates .* must be at most 2147483647"):
        ManagedIdsConfig(time_to_live_updates=1 << 31)
    with pytest.raises(UserError, match=r"mpzch does not count sightings.*can't be distance_lfu; set it to lru or"):
        ManagedIdsConfig(map="mpzch")
    with pytest.raises(UserError, match=r"item_table\.rows must be at least 2 for managed ids"):
        ItemTableConfig(rows=1, ids="managed")
    with pytest.raises(UserError, match=r"feature_tables\.max_rows must be at least 2 for managed ids"):
        FeatureTableConfig(max_rows=1, user_ids="managed")
