"""The attack of somebody who has the model and knows that it adapts event vectors, beside that of who does not know."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.parts.robustness.attacks import plain_adaptation as plain
from benchmarks.parts.robustness.attacks.vectors import Through, VectorAttack
from benchmarks.parts.robustness.measure import BATCH, scores, untouched
from benchmarks.parts.robustness.requests import Requests
from pinfm.inference.module import ScoringModule
from pinfm.model.adaptation.config import VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference
from pinfm.model.inputs import History
from pinfm.model.ranking.joint import FusedRanker
from pinfm.train.metrics import auc


def known(module: ScoringModule, reference: Reference, config: VectorAdaptationConfig) -> Through:
    """The adaptation as the attacker writes it down: its steps unrolled, with a gradient.

    Args:
        module: without the defence.
        reference: of the defence.
        config: of the defence.
    """
    assert isinstance(module.model, FusedRanker)
    encoder = module.model.encoder

    def adapted(history: History, item_TE: Tensor) -> Tensor:
        return plain.adapt(encoder, history, item_TE, reference, config)

    return adapted


def aware_figures(
    module: ScoringModule,
    behind: ScoringModule,
    through: Through | None,
    requests: Requests,
    attack: VectorAttack,
) -> dict[str, float]:
    """AUC of one task without an attack, after a blind one, and after one that knows the defence.

    Args:
        module: without the defence.
        behind: with it.
        through: it, as the attacker knows it; None where there is none to know.
        requests: that are attacked.
        attack: how.

    Returns:
        `aware_clean`, `aware_blind` and `aware_knows`.
    """
    parts = requests.batches(BATCH)
    clean = untouched(requests)
    blind = torch.cat([attack(module, batch) for batch in parts])
    knows = blind if through is None else torch.cat([attack(module, batch, through) for batch in parts])
    changes = {"clean": None, "blind": blind, "knows": knows}
    return {
        f"aware_{name}": auc(
            scores(behind, replace(clean, change=change))[:, attack.task], requests.labels[:, attack.task] > 0.5
        )
        for name, change in changes.items()
    }
