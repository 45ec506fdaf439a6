"""The map that probes: what its kernel does where it can, and that ids go on waiting where it can't."""

import probing
import pytest
import torch

from pinfm.embeddings.id_map import probed_map
from pinfm.embeddings.id_map.probed_map import ProbedMap
from pinfm.embeddings.specs import ManagedIdsConfig


@pytest.fixture(params=["one_by_one", pytest.param("cuda", marks=pytest.mark.gpu)])
def kernel(request, monkeypatch):
    if request.param == "one_by_one":
        probing.train_without_a_gpu(monkeypatch)


def new_map(num_rows, from_first_rank=lambda own: own, **fields):
    return ProbedMap(num_rows, ManagedIdsConfig(map="mpzch", **{"eviction": "lru", **fields}), from_first_rank)


def random_ids(number, seed):
    return torch.randint(-(2**63), 2**63 - 1, (number,), generator=torch.Generator().manual_seed(seed)).unique()


def show(ids_map, ids):
    """The rows that changed hands; every id that got one is looked up where the table says that it stands."""
    before = dict(zip(*(part.tolist() for part in ids_map.table()), strict=True))
    fresh = ids_map.show(ids, torch.ones_like(ids))
    held, rows = ids_map.table()
    after = dict(zip(held.tolist(), rows.tolist(), strict=True))
    assert len(set(after.values())) == len(after) == ids_map.num_ids()
    assert {row for id_, row in after.items() if before.get(id_) != row} == set(fresh.tolist())
    assert torch.equal(ids_map.rows(held), rows)
    return fresh


def test_ids_have_rows_of_their_own_and_keep_them_while_they_are_seen(kernel):
    ids_map, first = new_map(2001), random_ids(1000, seed=0)
    assert len(show(ids_map, first)) == len(first)  # half of the places are free, so 128 in a row are not taken
    assert ids_map.rows(random_ids(1000, seed=1)).unique().tolist() == [2000]
    rows = ids_map.rows(first)
    for seed in range(1, 6):
        assert len(show(ids_map, torch.cat([first, random_ids(1000, seed)]).unique())) > 0
        assert torch.equal(ids_map.rows(first), rows)
    assert ids_map.num_ids() > 1900


def test_nobody_makes_room_before_its_time(kernel):
    ids_map = new_map(301, eviction="time_to_live", time_to_live_updates=2)
    first = random_ids(1000, seed=0)
    show(ids_map, first)
    held, _ = ids_map.table()
    assert torch.isin(held, first).all()
    show(ids_map, random_ids(1000, seed=1))
    assert torch.isin(held, ids_map.table()[0]).all()
    show(ids_map, random_ids(1000, seed=2))
    assert not torch.isin(held, ids_map.table()[0]).any()


def test_a_map_goes_on_from_its_state(kernel):
    first, second = new_map(301), new_map(301)
    for seed in range(3):
        show(first, random_ids(200, seed))
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    assert all(map(torch.equal, first.table(), second.table()))
    # Of the last step, so nobody evicts them.
    kept = first.table()[0][torch.isin(first.table()[0], random_ids(200, 2))]
    rows = first.rows(kept)
    for ids_map in (first, second):
        show(ids_map, torch.cat([kept, random_ids(200, 9)]).unique())
        assert torch.equal(ids_map.rows(kept), rows)


def test_an_id_waits_where_all_places_near_its_hash_are_taken(monkeypatch):
    probing.train_without_a_gpu(monkeypatch)
    monkeypatch.setattr(probed_map, "MAX_PROBE", 2)
    ids_map = new_map(11)
    by_place = {}
    for id_ in range(1000):
        by_place.setdefault(probing.hash_place(id_ ^ probed_map.SIGN_BIT, 10), []).append(id_)
    three = torch.tensor(by_place[4][:3])
    assert show(ids_map, three).tolist() == [4, 5]
    assert ids_map.rows(three).tolist() == [4, 5, 10]
    # The third takes the row of the one that is not seen with it.
    assert show(ids_map, three[1:]).tolist() == [4]
    assert ids_map.rows(three).tolist() == [10, 5, 4]


def test_every_rank_has_the_map_of_the_first(monkeypatch):
    probing.train_without_a_gpu(monkeypatch)
    sent = []
    first = new_map(11, from_first_rank=lambda own: sent.append(own.clone()) or own)
    second = new_map(11, from_first_rank=lambda own: sent.pop(0))
    ids = torch.arange(8)
    fresh = show(first, ids)
    # A kernel that races gives this rank's ids other places.
    monkeypatch.setattr(probing, "hash_place", lambda key, num_places: 0)
    assert torch.equal(show(second, ids), fresh)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
