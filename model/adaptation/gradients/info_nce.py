"""The InfoNCE losses of a plan and their gradient, in one go.

    l_p = w_p softplus(log sum_k n_k e^{<h, z_k> / t} - <h, z> / t)

N  states     V  targets     K  items that targets are compared with     R  states that views are     P  pairs
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.adaptation.plan import Pairs, Plan
from pinfm.model.adaptation.reference import Reference
from pinfm.model.layers.logsumexp import NEVER

# Of the contrastive loss (arXiv 2204.03714).
VIEW_TEMPERATURE = 0.2


class InfoNCEGradient(nn.Module):
    """Losses and gradients of pairs.

    Args:
        reference: the negatives.
    """

    z: Tensor
    log_weight: Tensor
    states: Tensor

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self.register_buffer("z", reference.z)
        self.register_buffer("log_weight", reference.log_weight)
        self.register_buffer("states", reference.states)
        self.never, self.view_temperature = NEVER, VIEW_TEMPERATURE

    def forward(
        self, states_NO: Tensor, z_VO: Tensor, temperature: Tensor, plan: Plan
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The losses and their gradients.

        Args:
            states_NO: of the newest rows.
            z_VO: of the targets.
            temperature: t of the losses on items.
            plan: the pairs.

        Returns:
            The loss of each pair (P,) float32, items first, and the gradients (N, O) and (V, O) of their sum.
        """
        logits_NK = (states_NO @ self.z.T).float() / temperature + self.log_weight
        logits_NK = logits_NK.masked_fill(plan.engaged, self.never)
        losses_P, of_states, of_z = gradient_of_pairs(states_NO, z_VO, self.z, logits_NK, temperature, plan.pairs)
        if plan.views.anchor.size(0) == 0:
            return losses_P, of_states, of_z
        at_view = torch.full_like(temperature, self.view_temperature)
        logits_NR = (states_NO @ self.states.T).float() / at_view
        losses_B, of_first, of_second = gradient_of_pairs(
            states_NO, states_NO, self.states, logits_NR, at_view, plan.views
        )
        return torch.cat([losses_P, losses_B]), of_states + of_first + of_second, of_z


def gradient_of_pairs(
    states_NO: Tensor, z_VO: Tensor, others_KO: Tensor, logits_NK: Tensor, temperature: Tensor, pairs: Pairs
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (P,), and the gradients of their sum with respect to states (N, O) and targets (V, O).

    Args:
        states_NO: of the newest rows.
        z_VO: of the targets.
        others_KO: the negatives.
        logits_NK: <h, z_k> / t + log n_k.
        temperature: t.
        pairs: whose states, and what they have to name.
    """
    lse_N = torch.logsumexp(logits_NK, 1)
    h_PO, z_PO = states_NO[pairs.anchor], z_VO[pairs.target]
    margin_P = lse_N[pairs.anchor] - (h_PO * z_PO).sum(1).float() / temperature
    share_P = torch.sigmoid(margin_P) * pairs.weight
    scaled_P1 = (share_P / temperature).to(h_PO.dtype)[:, None]
    of_z_VO = torch.zeros_like(z_VO).index_add(0, pairs.target, -scaled_P1 * h_PO)
    share_N1 = torch.zeros_like(lse_N).index_add(0, pairs.anchor, share_P)[:, None]
    of_logits_NK = (torch.exp(logits_NK - lse_N[:, None]) * share_N1 / temperature).to(states_NO.dtype)
    of_states_NO = (of_logits_NK @ others_KO).index_add(0, pairs.anchor, -scaled_P1 * z_PO)
    return F.softplus(margin_P) * pairs.weight, of_states_NO, of_z_VO
