"""Attacks on event vectors: projected gradient ascent of the ranking loss (Madry et al., arXiv 1706.06083).

Nobody can tamper with a history like this: it bounds from above what a change of events can do.

U  requests     T  events     E  width of an item's vector
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.parts.robustness.requests import Requests, request_rng
from benchmarks.parts.robustness.victim import event_vectors, probabilities, ranking_losses
from pinfm.inference.module import ScoringModule
from pinfm.model.inputs import History
from pinfm.model.views import root_mean_square

# History and event vectors -> the vectors after a defence that the attacker knows.
Through = Callable[[History, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class VectorAttack:
    """Sign steps within an L_inf ball, from a random start.

    Args:
        radius: largest change of a component, in units of the root mean square component of the history's own vectors.
        task: column of the labels whose loss is raised.
        steps: each a forward and a backward pass; together they reach two and a half times the radius.
        seed: of the start, which follows from each request's id.
    """

    radius: float
    task: int = 0
    steps: int = 20
    seed: int = 0

    def __call__(self, module: ScoringModule, requests: Requests, through: Through | None = None) -> Tensor:
        """The change of every event vector.

        Args:
            module: what is attacked; without the defence where `through` stands for it.
            requests: with the labels that the attacker wants to be wrong about.
            through: a defence that the attacker knows; None for an attacker who knows of none.

        Returns:
            (T, E).
        """
        item_TE, lengths_U = event_vectors(module, requests), requests.history.lengths
        owner_T = torch.repeat_interleave(lengths_U)
        limit_T1 = self.radius * root_mean_square(item_TE, owner_T, lengths_U)[owner_T, None]
        change_TE = limit_T1 * self._start(requests, item_TE.size(1))
        for _ in range(self.steps):
            change_TE = change_TE.detach().requires_grad_()
            moved = _moved_by(change_TE, requests, through)
            losses_U = ranking_losses(probabilities(module, requests, moved), requests, self.task)
            (grad_TE,) = torch.autograd.grad(losses_U.sum(), change_TE)
            change_TE = change_TE + 2.5 / self.steps * limit_T1 * grad_TE.sign()
            change_TE = change_TE.clamp(-limit_T1, limit_T1)
        return change_TE.detach()

    def _start(self, requests: Requests, width: int) -> Tensor:
        """(T, E) evenly from -1 to 1."""
        rows = [
            request_rng(self.seed, request_id).uniform(-1, 1, (length, width))
            for request_id, length in zip(requests.request_id.tolist(), requests.history.lengths.tolist(), strict=True)
        ]
        return torch.cat([torch.from_numpy(of_request).float() for of_request in rows])


def _moved_by(change_TE: Tensor, requests: Requests, through: Through | None) -> Callable[[Tensor], Tensor]:
    if through is None:
        return lambda item_TE: item_TE + change_TE
    return lambda item_TE: through(requests.history, item_TE + change_TE)
