"""What an attack costs a model: AUC, HIT@3, how much its lists change, and how well the planted events are found.

U  requests     T  events     N  candidates
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.parts.robustness.attacks.events import EventAttack, tamper
from benchmarks.parts.robustness.lists import overlap, place_of_first, places, rank_biased_overlap
from benchmarks.parts.robustness.requests import Requests
from benchmarks.parts.robustness.victim import probabilities
from pinfm.inference.module import ScoringModule
from pinfm.train.metrics import auc, grouped_auc, ranking_metrics

BATCH = 64
TOP = 10


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """Requests after an attack.

    Args:
        requests: with the logged candidates and their labels.
        planted: (T,) bool, the events that the attacker put there.
        change: (T, E), what was added to the event vectors; None for nothing.
    """

    requests: Requests
    planted: Tensor
    change: Tensor | None = None


def untouched(requests: Requests) -> Attacked:
    """Nobody attacks."""
    return Attacked(requests=requests, planted=torch.zeros_like(requests.history.item_id, dtype=torch.bool))


def after(requests: Requests, attack: EventAttack, seed: int) -> Attacked:
    """The requests after an attack on their events."""
    tampered = tamper(requests, attack, seed)
    return Attacked(requests=tampered.requests, planted=tampered.planted)


@torch.no_grad()
def scores(module: ScoringModule, attacked: Attacked, candidates: Requests | None = None) -> Tensor:
    """(N, tasks) probabilities, so many requests at a time.

    Args:
        module: with a defence or without.
        attacked: the histories.
        candidates: of the first of these requests; their own where None.
    """
    requests, change_TE = attacked.requests, attacked.change
    if candidates is not None:
        count = len(candidates.request_id)
        requests = candidates.with_history(requests.take(torch.arange(count)).history)
        change_TE = None if change_TE is None else change_TE[: len(requests.history.item_id)]
    parts, first = [], 0
    for batch in requests.batches(BATCH):
        moved = None
        if change_TE is not None:
            mine_TE = change_TE[first : first + len(batch.history.item_id)]
            moved = _adding(mine_TE)
        first += len(batch.history.item_id)
        parts.append(probabilities(module, batch, moved))
    return torch.cat(parts)


def measured(module: ScoringModule, attacked: Attacked, lists: Requests, clean_lists_N: Tensor) -> dict[str, float]:
    """Figures of one model after one attack, of its first task.

    Args:
        module: with a defence or without.
        attacked: the requests.
        lists: the first of the requests with long lists of candidates, all of one length; a promotion lifts the first
            of each.
        clean_lists_N: the same model's scores of the lists before the attack.

    Returns:
        `auc`, `hit3`, `overlap` of the top ten and `rbo` of the lists before and after, and `climb`, the places that
        the targets gain.
    """
    requests = attacked.requests
    of_task = ranking_metrics(
        {"task": scores(module, attacked)[:, 0]},
        {"task": requests.labels[:, 0] > 0.5},
        requests.inputs["user_id"][requests.owner_N],
        requests.owner_N,
        torch.full((len(requests.labels),), math.nan, dtype=torch.float64),
        torch.zeros(len(requests.labels), dtype=torch.bool),
    )["task"]
    after_N = scores(module, attacked, lists)[:, 0]
    clean_UC, after_UC = (of.view(len(lists.request_id), -1) for of in (clean_lists_N, after_N))
    climb_U = place_of_first(clean_UC) - place_of_first(after_UC)
    clean_UC, after_UC = places(clean_UC), places(after_UC)
    return {
        "auc": of_task["auc"],
        "hit3": of_task["hit3_hard"],
        "overlap": float(overlap(clean_UC, after_UC, TOP).mean()),
        "rbo": float(rank_biased_overlap(clean_UC, after_UC).mean()),
        "climb": float(climb_U.float().mean()),
    }


@torch.no_grad()
def distrusted(trust: Callable[[Requests], Tensor], threshold: float, attacked: Attacked) -> dict[str, float]:
    """What trust weights make of the events.

    Args:
        trust: requests -> (T,) in [0, 1].
        threshold: below which an event is dropped.
        attacked: the requests.

    Returns:
        `dropped`, the share of the real events that is dropped. Where some are planted also `found`, the same share of
        these, and the AUC of distrust: `detection` over all events, `detection_own` the mean over the histories. What
        is undefined, as where no event is real, is left out.
    """
    trust_T = torch.cat([trust(batch) for batch in attacked.requests.batches(BATCH)])
    planted_T = attacked.planted
    dropped_T = (trust_T < threshold).double()
    figures = {"dropped": float(dropped_T[~planted_T].mean())}
    if bool(planted_T.any()):
        owner_T = torch.repeat_interleave(attacked.requests.history.lengths)
        figures |= {
            "found": float(dropped_T[planted_T].mean()),
            "detection": auc(1.0 - trust_T, planted_T),
            "detection_own": grouped_auc(1.0 - trust_T, planted_T, owner_T)["gauc"],
        }
    return {name: figure for name, figure in figures.items() if not math.isnan(figure)}


def _adding(change_TE: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda item_TE: item_TE + change_TE
