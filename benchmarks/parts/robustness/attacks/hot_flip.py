"""Substitution by somebody who has the model: which event to replace by which item tells the gradient (HotFlip).

Ebrahimi et al., arXiv 1712.06751. To first order, an item a replaced by b adds g (v_b - v_a) to the loss, with g
the gradient at the event's vector.

T  events     E  width of an item's vector     C  items to choose from
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.parts.robustness.attacks.events import Events, Tampered
from benchmarks.parts.robustness.requests import Requests
from benchmarks.parts.robustness.victim import probabilities, ranking_losses
from pinfm.inference.module import ScoringModule

# Requests -> (T,) bool, which of the events a defence keeps.
Believes = Callable[[Requests], Tensor]
# How often an attacker who knows a defence tries other items.
ROUNDS = 10


@dataclass(frozen=True, kw_only=True)
class HotFlip:
    """The worst item of many at the worst places, all at once.

    Args:
        count: places of a history, at most all.
        item_id: (C,) int64, what may be put there.
        task: column of the labels whose loss is raised.
    """

    count: int
    item_id: Tensor
    task: int = 0

    def __call__(self, module: ScoringModule, requests: Requests, believes: Believes | None = None) -> Tampered:
        """The requests with other items where it does most harm; actions, surfaces and times stay.

        Args:
            module: what is attacked, without a defence.
            requests: with the labels that the attacker wants to be wrong about.
            believes: trust weights that the attacker knows: an item that is seen through is not tried again.
        """
        gain_TC = self._gains(module, requests)
        owner_T = torch.repeat_interleave(requests.history.lengths)
        tried_UC = torch.zeros(len(requests.request_id), len(self.item_id), dtype=torch.bool)
        for _ in range(1 if believes is None else ROUNDS):
            gain_T, best_T = gain_TC.masked_fill(tried_UC[owner_T], -torch.inf).max(dim=1)
            flipped = self._flipped(requests, gain_T, best_T)
            if believes is not None:
                caught_T = flipped.planted & ~believes(flipped.requests)
                tried_UC[owner_T[caught_T], best_T[caught_T]] = True
        return flipped

    def _gains(self, module: ScoringModule, requests: Requests) -> Tensor:
        """(T, C) what each item in the place of each event adds to the loss."""
        item_TE = module.item_vectors(requests.history.item_id).requires_grad_()
        losses_U = ranking_losses(probabilities(module, requests, lambda _: item_TE), requests, self.task)
        (grad_TE,) = torch.autograd.grad(losses_U.sum(), item_TE)
        return grad_TE @ module.item_vectors(self.item_id).T - (grad_TE * item_TE.detach()).sum(1, keepdim=True)

    def _flipped(self, requests: Requests, gain_T: Tensor, best_T: Tensor) -> Tampered:
        history = requests.history
        planted_T = torch.zeros_like(gain_T, dtype=torch.bool)
        for rows in torch.arange(len(gain_T)).split(history.lengths.tolist()):
            planted_T[rows[gain_T[rows].topk(min(self.count, len(rows))).indices]] = True
        item_T = torch.where(planted_T, self.item_id[best_T], history.item_id)
        return Tampered(requests.with_history(history._replace(item_id=item_T)), planted_T)


def most_popular(pool: Events, count: int) -> Tensor:
    """(C,) the items with most events of a pool, at most so many."""
    items, counts = np.unique(pool.columns["item_id"], return_counts=True)
    return torch.from_numpy(items[np.argsort(-counts, kind="stable")[:count]])
