"""Injection that is to make an item climb: the user seems to like what the tower takes for its neighbours.

U  requests     C  items to choose from     O  width of psi
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarks.parts.robustness.requests import Requests
from pinfm.inference.module import ScoringModule
from pinfm.model.ranking.joint import FusedRanker
from pinfm.train.data.ragged import IntArray

NEIGHBOURS = 5


@torch.no_grad()
def neighbours(module: ScoringModule, item_U: Tensor, item_C: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """(U, count) the items of C that are nearest to each of U by psi, itself left out.

    Args:
        module: with a tower.
        item_U: ids.
        item_C: ids to choose from, more than `count`.
    """
    assert isinstance(module.model, FusedRanker)
    psi = module.model.encoder.psi
    near_UC = psi(module.item_vectors(item_U)) @ psi(module.item_vectors(item_C)).T
    near_UC = near_UC.masked_fill(item_U[:, None] == item_C[None, :], -torch.inf)
    return item_C[near_UC.topk(count, dim=1).indices]


def promoters(module: ScoringModule, wanted: Requests, item_C: Tensor) -> Mapping[int, IntArray]:
    """What to inject so that an item climbs: the `items` of an `Injection`.

    Args:
        module: with a tower.
        wanted: requests with one candidate each, the one that is to climb.
        item_C: ids to choose from.

    Returns:
        Request id -> items.
    """
    near_UM = neighbours(module, wanted.inputs["candidate_item_id"], item_C)
    return dict(zip(wanted.request_id.tolist(), near_UM.numpy(), strict=True))
