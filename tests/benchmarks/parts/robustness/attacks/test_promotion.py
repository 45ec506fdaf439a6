"""What is injected so that an item climbs."""

import torch

from benchmarks.parts.robustness.attacks.promotion import neighbours, promoters
from benchmarks.parts.robustness.requests import with_drawn_candidates


def test_neighbours_are_the_nearest_by_psi_without_the_item(victim, requests):
    item_C = requests.inputs["candidate_item_id"].unique()
    found_UM = neighbours(victim, item_C[:4], item_C, count=3)
    psi = victim.model.encoder.psi
    z_CO = psi(victim.item_vectors(item_C))
    for u, item in enumerate(item_C[:4].tolist()):
        near = sorted((-float(z_CO[u] @ z_CO[c]), c) for c, other in enumerate(item_C.tolist()) if other != item)
        assert found_UM[u].tolist() == [int(item_C[c]) for _, c in near[:3]]


def test_promoters_are_those_of_each_requests_own_target(victim, requests):
    item_C = requests.inputs["candidate_item_id"].unique()
    wanted = with_drawn_candidates(requests, requests, 1, seed=0)
    # The first of the longer list is the one that is to climb.
    lists = with_drawn_candidates(requests, requests, 8, seed=0)
    assert torch.equal(lists.inputs["candidate_item_id"][::8], wanted.inputs["candidate_item_id"])
    found = promoters(victim, wanted, item_C)
    assert list(found) == requests.request_id.tolist()
    expected = neighbours(victim, wanted.inputs["candidate_item_id"], item_C)
    assert [items.tolist() for items in found.values()] == expected.tolist()
