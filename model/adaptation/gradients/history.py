"""The gradient of the self-supervised losses with respect to the event vectors: a forward and a backward pass.

T  events     R  rows of the sequences     S  those that move     V  targets     E  width of an item's vector
O  out_dim
"""

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.adaptation.gradients.block import BlockGradient, Saved
from pinfm.model.adaptation.gradients.info_nce import InfoNCEGradient
from pinfm.model.adaptation.gradients.pointwise import NormGradient, UnitLayers
from pinfm.model.adaptation.plan import Plan
from pinfm.model.adaptation.reference import Reference
from pinfm.model.config import MIN_TEMPERATURE
from pinfm.model.encoder import SequenceEncoder


class HistoryGradient(nn.Module):
    """The tower and the losses, event vectors in, their gradient out.

    Args:
        encoder: the tower, in evaluation mode; its modules are shared, not copied.
        reference: the negatives.
    """

    def __init__(self, encoder: SequenceEncoder, reference: Reference) -> None:
        super().__init__()
        self.dcat = dcat = encoder.fusion.dcat
        self.phi_in, self.scale = UnitLayers(encoder.tokens.phi_in), encoder.tokens.scale
        self.none = [torch.zeros(0, 1, 1) for _ in dcat.blocks]
        blocks = [BlockGradient(block) for block in dcat.blocks]
        self.blocks = module_list(blocks)
        self.from_last = module_list(reversed(blocks))  # TorchScript walks a list in its own order alone
        self.final_norm, self.request_time = NormGradient(dcat.final_norm), encoder.request_time
        self.phi_out, self.psi = UnitLayers(encoder.phi_out), UnitLayers(encoder.psi)
        self.losses = InfoNCEGradient(reference)
        self.log_temperature, self.min_temperature = encoder.log_temperature, MIN_TEMPERATURE

    @torch.jit.export
    def older(self, item_TE: Tensor, plan: Plan) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values (R, H, d) of all rows in each layer, of which the older ones stay as they are.

        Args:
            item_TE: vectors of the events' items.
            plan: what is asked of them.

        Returns:
            (0, H, d) each where no row is older.
        """
        if plan.newest.rows.size(0) == plan.event.size(0):
            return self.none, self.none
        parts_RE = item_TE[plan.event].masked_fill(plan.hidden[:, None], 0.0) + plan.beside
        context = self.dcat.encode_context(self.scale * self.phi_in(parts_RE)[0], plan.lengths)
        return context.keys, context.values

    def forward(self, item_TE: Tensor, plan: Plan, older: tuple[list[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor]:
        """One pass there and back.

        Args:
            item_TE: vectors of the events' items.
            plan: what is asked of them.
            older: what stays, from the function of this name.

        Returns:
            The weighted loss of each pair (P,) float32, and the gradient (T, E) of their sum; 0 for events that stay.
        """
        temperature = self.log_temperature.float().exp().clamp(min=self.min_temperature)
        rows_S, keys, values = plan.newest.rows, older[0], older[1]
        event_S, hidden_S1 = plan.event[rows_S], plan.hidden[rows_S, None]
        parts_SE = item_TE[event_S].masked_fill(hidden_S1, 0.0) + plan.beside[rows_S]
        unit_SD, hidden_SD, length_S1 = self.phi_in(parts_SE)
        x_SD = self.scale * unit_SD
        saved: list[Saved] = []
        for i, block in enumerate(self.blocks):
            x_SD, of_block = block(x_SD, plan.newest, keys[i], values[i])
            saved.append(of_block)
        output_SD, mean_S1, rstd_S1 = self.final_norm(x_SD)
        states_SO, states_hidden, states_length = self.phi_out(self.request_time(output_SD, plan.gap))
        z_VO, z_hidden, z_length = self.psi(item_TE[plan.targets])
        losses_P, of_states_SO, of_z_VO = self.losses(states_SO, z_VO, temperature, plan)

        grad = self.phi_out.gradient(of_states_SO, states_SO, states_hidden, states_length)
        grad = self.final_norm.gradient(grad, x_SD, mean_S1, rstd_S1)
        for i, block in enumerate(self.from_last):
            grad = block.gradient(grad, saved[-1 - i], plan.newest)
        of_parts_SE = self.phi_in.gradient(self.scale * grad, unit_SD, hidden_SD, length_S1)
        of_targets_VE = self.psi.gradient(of_z_VO, z_VO, z_hidden, z_length)
        of_items_TE = torch.zeros_like(item_TE).index_add(0, event_S, of_parts_SE.masked_fill(hidden_S1, 0.0))
        return losses_P, of_items_TE.index_add(0, plan.targets, of_targets_VE)
