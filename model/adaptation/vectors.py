"""Adapting a history's event vectors, so that its self-supervised losses fall together (arXiv 2204.03714).

    r = argmin over |r|_inf <= radius of sum_k alpha_k L_k(x + r)

by projected sign-gradient descent, with frozen weights.

T  events     U  histories     E  width of an item's vector
"""

import torch
from torch import Tensor, nn

from pinfm.model.adaptation.config import VectorAdaptationConfig
from pinfm.model.adaptation.gradients.history import HistoryGradient
from pinfm.model.adaptation.plan import Planner
from pinfm.model.adaptation.reference import Reference
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History
from pinfm.model.layers.fusion import EarlyFusion
from pinfm.model.views import root_mean_square

# Components of the gradient below this share of a history's root mean square count as 0, and from twice of it on as 1:
# where the sign would jump, rounding, which differs with threads and with what else is in a batch, would decide.
DEAD_ZONE = 1e-2


class VectorAdaptation(nn.Module):
    """Moves event vectors; written for TorchScript, and where autograd is off.

    Args:
        encoder: the tower, in evaluation mode.
        reference: what histories are held against.
        config: losses, steps and radius.
    """

    def __init__(self, encoder: SequenceEncoder, reference: Reference, config: VectorAdaptationConfig) -> None:
        super().__init__()
        self.encoder = encoder
        # Other forms of fusion put more into a context than the events.
        self.is_plain = isinstance(encoder.fusion, EarlyFusion)
        self.planner = Planner(encoder, reference, config)
        self.history_gradient = HistoryGradient(encoder, reference)
        self.steps, self.step_size, self.radius = config.steps, config.step_size, config.radius

    def forward(self, history: History, item_TE: Tensor) -> Tensor:
        """Adapted event vectors.

        Args:
            history: T events of U histories; each is adapted by itself.
            item_TE: vectors of their items.

        Returns:
            (T, E), of `item_TE`'s type; each component within `radius` times the root mean square of its history's.
        """
        return self.encode(history, item_TE)[0]

    @torch.jit.export
    def encode(self, history: History, item_TE: Tensor) -> tuple[Tensor, Context]:
        """Adapted event vectors, and the histories encoded with them; older events are encoded once for all of it.

        Args:
            history: T events of U histories.
            item_TE: vectors of their items.

        Returns:
            What `forward` gives, and what `SequenceEncoder.encode_context` makes of it.
        """
        with torch.no_grad():  # TorchScript wants the return outside
            if item_TE.size(0) == 0:
                adapted_TE, context = item_TE, self.encoder.encode_context(history, item_TE)
            else:
                adapted_TE, context = self._descend(history, item_TE)
        return adapted_TE, context

    @torch.jit.export
    def losses(self, history: History, item_TE: Tensor) -> Tensor:
        """(U,) float32: each history's weighted sum of the losses."""
        losses_U = torch.zeros_like(history.lengths, dtype=torch.float32)
        with torch.no_grad():
            plan = self.planner(history)
            history_P = torch.cat([plan.pairs.history, plan.views.history])
            older = self.history_gradient.older(item_TE, plan)
            losses_U = losses_U.index_add(0, history_P, self.history_gradient(item_TE, plan, older)[0])
        return losses_U

    def _descend(self, history: History, item_TE: Tensor) -> tuple[Tensor, Context]:
        owner_T = torch.repeat_interleave(history.lengths)
        unit_T1 = root_mean_square(item_TE, owner_T, history.lengths)[owner_T, None]
        step_T1, limit_T1 = self.step_size * unit_T1, self.radius * unit_T1
        plan = self.planner(history)
        older = self.history_gradient.older(item_TE, plan)
        moved_TE = torch.zeros_like(item_TE)
        for _ in range(self.steps):
            gradient_TE = self.history_gradient(item_TE + moved_TE, plan, older)[1]
            moved_TE = moved_TE - step_T1 * signs(gradient_TE, owner_T, history.lengths)
            moved_TE = torch.minimum(torch.maximum(moved_TE, -limit_T1), limit_T1)
        adapted_TE = item_TE + moved_TE
        if self.is_plain:
            renewed = self.history_gradient.renewed(adapted_TE, plan, older)
            return adapted_TE, first_rows(renewed, history.lengths)
        return adapted_TE, self.encoder.encode_context(history, adapted_TE)


def first_rows(context: Context, lengths_U: Tensor) -> Context:
    """The first U histories of a context, without the memory of the others."""
    num_events = int(lengths_U.sum())
    if num_events == context.rows.size(0):
        return context
    return Context(
        lengths_U,
        context.rows[:num_events].clone(),
        [keys[:num_events].clone() for keys in context.keys],
        [values[:num_events].clone() for values in context.values],
    )


def signs(gradient_TE: Tensor, owner_T: Tensor, lengths_U: Tensor, dead_zone: float = DEAD_ZONE) -> Tensor:
    """(T, E) in [-1, 1]: the signs, with a dead zone around 0 and a ramp at its end."""
    small_U = dead_zone * root_mean_square(gradient_TE, owner_T, lengths_U).clamp(min=1e-30)
    ramp_TE = gradient_TE.abs() / small_U[owner_T, None] - 1
    return ramp_TE.clamp(min=0.0, max=1.0) * torch.sign(gradient_TE)
