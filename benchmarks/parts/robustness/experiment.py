"""One training under one seed: every attack on its model, and every defence of it under each.

An attacker who needs gradients has the model, and not the defence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.parts.robustness.attacks.events import Deletion, Injection, Shuffling, Substitution, positive_pool
from benchmarks.parts.robustness.attacks.hot_flip import Believes, HotFlip, most_popular
from benchmarks.parts.robustness.attacks.promotion import promoters
from benchmarks.parts.robustness.attacks.vectors import VectorAttack
from benchmarks.parts.robustness.measure import BATCH, Attacked, after, untouched
from benchmarks.parts.robustness.requests import Requests, read_requests, with_drawn_candidates
from pinfm.inference.module import ScoringModule
from pinfm.train.data.dataset import PreparedDataset

# Items that an attacker chooses from, the most popular ones.
CHOICE = 1000


@dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack and how much of it.

    Args:
        kind: one of `clean`, `pgd`, `substitution`, `hot_flip`, `evading`, `injection`, `promotion`, `deletion` and
            `shuffling`.
        size: the radius of `pgd`; events, for the others; not read for `clean` and `shuffling`.
    """

    kind: str
    size: float = 0.0

    @property
    def name(self) -> str:
        """`pgd 0.2`, `substitution 16`, `clean`."""
        return f"{self.kind} {self.size:g}" if self.size else self.kind


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured.

    Args:
        requests: of the test split.
        lists: of the first so many of them.
        candidates: of a list.
        least_events: of a history.
        others: users of the training split whose histories a defence may know.
        steps: of an attack by gradient.
        aware: requests that are attacked by somebody who knows the defence.
    """

    requests: int
    lists: int = 100
    candidates: int = 100
    least_events: int = 16
    others: int = 500
    steps: int = 20
    aware: int = 40


@dataclass(frozen=True, kw_only=True)
class Material:
    """What models of one dataset are attacked and measured on.

    Args:
        requests: of the test split.
        lists: the first of them with long lists of candidates.
        wanted: all of them with one candidate, which a promotion is to lift and which heads its list.
        others: requests of the training split.
    """

    requests: Requests
    lists: Requests
    wanted: Requests
    others: Requests


def read_material(dataset: PreparedDataset, max_history: int, size: Size) -> Material:
    """The same requests for every model of a dataset."""
    requests = read_requests(dataset, "test", max_history, size.requests, size.least_events)
    # Candidates of everybody, so that lists do not come from a few slates.
    pool = read_requests(dataset, "test", max_history, 20 * size.requests, 0, seed=1)
    first = requests.take(torch.arange(min(size.lists, len(requests.request_id))))
    return Material(
        requests=requests,
        lists=with_drawn_candidates(first, pool, size.candidates, seed=0),
        wanted=with_drawn_candidates(requests, pool, 1, seed=0),
        others=read_requests(dataset, "train", max_history, size.others, size.least_events),
    )


class Attacker:
    """Attacks on one model; each is made once.

    Args:
        module: without a defence.
        material: what is attacked.
        positive_codes: of the actions that make an event worth planting.
        max_history: newest events that the model reads.
        steps: of attacks by gradient.
        believes: the trust weights that `evading` knows.
    """

    def __init__(
        self,
        module: ScoringModule,
        material: Material,
        positive_codes: Sequence[int],
        max_history: int,
        steps: int,
        believes: Believes,
    ) -> None:
        self.module, self.material, self.max_history = module, material, max_history
        self.steps, self.believes = steps, believes
        self.pool = positive_pool(material.others, positive_codes)
        self._made: dict[str, Attacked] = {}

    @cached_property
    def item_id(self) -> Tensor:
        """(C,) the items that an attacker chooses from."""
        return most_popular(self.pool, CHOICE)

    def __call__(self, attack: Attack) -> Attacked:
        """The requests after an attack."""
        if attack.name not in self._made:
            self._made[attack.name] = self._attacked(attack.kind, attack.size)
        return self._made[attack.name]

    def _attacked(self, kind: str, size: float) -> Attacked:
        requests, count = self.material.requests, int(size)
        if kind == "clean":
            return untouched(requests)
        if kind == "pgd":
            pgd = VectorAttack(radius=size, steps=self.steps)
            change_TE = torch.cat([pgd(self.module, batch) for batch in requests.batches(BATCH)])
            return Attacked(requests=requests, planted=untouched(requests).planted, change=change_TE)
        if kind in ("hot_flip", "evading"):
            believes = self.believes if kind == "evading" else None
            flipped = HotFlip(count=count, item_id=self.item_id)(self.module, requests, believes)
            return Attacked(requests=flipped.requests, planted=flipped.planted)
        items = promoters(self.module, self.material.wanted, self.item_id) if kind == "promotion" else None
        injection = Injection(count=count, pool=self.pool, max_history=self.max_history, items=items)
        attacks = {
            "substitution": Substitution(count=count, pool=self.pool),
            "injection": injection,
            "promotion": injection,
            "deletion": Deletion(count=count),
            "shuffling": Shuffling(),
        }
        return after(requests, attacks[kind], seed=0)
