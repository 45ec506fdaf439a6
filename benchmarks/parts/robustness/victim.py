"""A fine-tuned run as what is attacked: the exported module's own code, in Python, so that it has gradients.

U  requests     T  events     N  candidates     E  width of an item's vector
"""

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.parts.robustness.requests import Requests
from pinfm.inference.export import scoring_module
from pinfm.inference.folders import exportable_run
from pinfm.inference.module import ScoringModule
from pinfm.inference.options import ExportOptions
from pinfm.inference.tables import place_tables
from pinfm.inference.write_tables import write_tables
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference, make_reference
from pinfm.model.adaptation.trust import TrustWeights
from pinfm.model.adaptation.vectors import VectorAdaptation
from pinfm.model.inputs import own_histories
from pinfm.model.ranking.joint import FusedRanker, RankingInputs

# (T, E) event vectors -> what stands in their place.
Moved = Callable[[Tensor], Tensor]


def scored_run(path: Path) -> ScoringModule:
    """The newest checkpoint of a fine-tuned run, its tables in place, its weights without gradients."""
    run = exportable_run(path)
    module = scoring_module(run, ExportOptions())
    with tempfile.TemporaryDirectory() as folder:
        # Mapped files are read after their names are gone.
        place_tables(module, Path(folder), write_tables(run, Path(folder), "fp32"))
    return module.requires_grad_(False)


class DefendedRanker(nn.Module):
    """A model that does something about histories before it reads them.

    Args:
        model: what was trained.
        defence: moves event vectors, or drops events.
    """

    def __init__(self, model: FusedRanker, defence: VectorAdaptation | TrustWeights) -> None:
        super().__init__()
        self.model, self.defence = model, defence

    def score(self, inputs: RankingInputs) -> Tensor:
        """(N, K) logits."""
        if isinstance(self.defence, VectorAdaptation):
            return self.model.score(inputs._replace(item_TE=self.defence(inputs.history, inputs.item_TE)))
        context = self.model.encoder.encode_context(inputs.history, inputs.item_TE)
        trust_T = self.defence(inputs.history, context, inputs.item_TE)
        history, context = self.defence.drop(inputs.history, context, trust_T)
        inputs = inputs._replace(history=history, reads=own_histories(history.lengths))
        return self.model.against(context, inputs)[0]


def defended(
    module: ScoringModule, config: VectorAdaptationConfig | TrustConfig, reference: Reference
) -> ScoringModule:
    """The same weights behind a defence."""
    assert isinstance(module.model, FusedRanker)
    defence = VectorAdaptation if isinstance(config, VectorAdaptationConfig) else TrustWeights
    twin = copy.copy(module)
    twin._modules = dict(module._modules)  # which copy.copy leaves to both
    twin.model = DefendedRanker(module.model, defence(module.model.encoder, reference, config))
    return twin


def trust(module: ScoringModule, requests: Requests) -> Tensor:
    """(T,) in [0, 1], of a module behind trust weights."""
    model = module.model
    item_TE = event_vectors(module, requests)
    context = model.model.encoder.encode_context(requests.history, item_TE)
    return model.defence(requests.history, context, item_TE)


def probabilities(module: ScoringModule, requests: Requests, moved: Moved | None = None) -> Tensor:
    """Scores every candidate.

    Args:
        module: of a run, with a defence or without.
        requests: to score.
        moved: what an attacker makes of the event vectors between the lookup and the model.

    Returns:
        (N, tasks) probabilities; they have a gradient with respect to what `moved` reads.
    """
    num_events = requests.inputs["history_item_id"].size(0)

    def move(_module: nn.Module, _args: tuple[Tensor, ...], vectors: Tensor) -> Tensor:
        assert moved is not None
        return torch.cat([moved(vectors[:num_events]), vectors[num_events:]])

    # The module looks up events and candidates at once, events first.
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


def reference_of(module: ScoringModule, others: Requests, positive_codes: Sequence[int]) -> Reference:
    """What histories are held against: the histories of other users' requests."""
    assert isinstance(module.model, FusedRanker)
    return make_reference(module.model.encoder, others.history, event_vectors(module, others), positive_codes)


def event_vectors(module: ScoringModule, requests: Requests) -> Tensor:
    """(T, E) of the events."""
    return module.item_vectors(requests.inputs["history_item_id"])
