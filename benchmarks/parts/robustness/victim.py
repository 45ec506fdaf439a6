"""A fine-tuned run as what is attacked: the exported module's own code, in Python, so that it has gradients.

U  requests     T  events     N  candidates     E  width of an item's vector
"""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.parts.robustness.requests import Requests
from pinfm.inference.adaptation.reference import kept_reference
from pinfm.inference.export import adapt_module, scoring_module
from pinfm.inference.folders import exportable_run
from pinfm.inference.module import ScoringModule
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import kept_requests
from pinfm.inference.tables import place_tables
from pinfm.inference.write_tables import write_tables
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference

# (T, E) event vectors -> what stands in their place.
Moved = Callable[[Tensor], Tensor]


def scored_run(path: Path) -> ScoringModule:
    """The best checkpoint of a fine-tuned run, its tables in place, its weights without gradients."""
    run = exportable_run(path)
    module = scoring_module(run, ExportOptions())
    with tempfile.TemporaryDirectory() as folder:
        # Mapped files are read after their names are gone.
        place_tables(module, Path(folder), write_tables(run, Path(folder), "fp32"))
    return module.requires_grad_(False)


def defended(
    module: ScoringModule, config: VectorAdaptationConfig | TrustConfig, reference: Reference
) -> ScoringModule:
    """The same weights behind a defence, as `pinfm export --adapt` puts it there."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)  # which copy.copy leaves to both
    adapt_module(twin, config, reference)
    return twin


@torch.no_grad()
def trust(module: ScoringModule, requests: Requests) -> Tensor:
    """(T,) in [0, 1], of a module behind trust weights."""
    return module.trust(dict(requests.inputs))


def probabilities(module: ScoringModule, requests: Requests, moved: Moved | None = None) -> Tensor:
    """Scores every candidate.

    Args:
        module: of a run, with a defence or without.
        requests: to score.
        moved: what an attacker makes of the event vectors between the lookup and the model.

    Returns:
        (N, tasks) probabilities; they have a gradient with respect to what `moved` reads.
    """
    events = requests.inputs["history_item_id"]

    def move(_module: nn.Module, looked_up: tuple[Tensor, ...], vectors: Tensor) -> Tensor:
        assert moved is not None
        return moved(vectors) if looked_up[0] is events else vectors

    # The module looks up events when it encodes them, and candidates when it scores.
    handle = None if moved is None else module.item_tables.register_forward_hook(move)
    try:
        scores = module(dict(requests.inputs))
    finally:
        if handle is not None:
            handle.remove()
    return torch.stack([scores[task] for task in module.tasks], dim=1)


def ranking_losses(probabilities_NK: Tensor, requests: Requests, task: int) -> Tensor:
    """(U,) binary cross-entropy of one task, the sum over each request's candidates."""
    losses_N = F.binary_cross_entropy(probabilities_NK[:, task], requests.labels[:, task], reduction="none")
    return losses_N.new_zeros(len(requests.request_id)).index_add(0, requests.owner_N, losses_N)


def served_reference(module: ScoringModule, path: Path) -> Reference:
    """What the artefact of a run holds histories against.

    Args:
        module: of the run, without a defence.
        path: the run.
    """
    run = exportable_run(path)
    return kept_reference(module, run, kept_requests(run))


def event_vectors(module: ScoringModule, requests: Requests) -> Tensor:
    """(T, E) of the events."""
    return module.item_vectors(requests.inputs["history_item_id"])
