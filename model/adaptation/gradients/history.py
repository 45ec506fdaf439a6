"""The gradient of the self-supervised losses with respect to the event vectors: a forward and a backward pass.

T  events     R  rows of the sequences     A  anchors     V  targets     E  width of an item's vector     O  out_dim
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
        dcat = encoder.fusion.dcat
        self.phi_in, self.scale = UnitLayers(encoder.tokens.phi_in), encoder.tokens.scale
        blocks = [BlockGradient(block) for block in dcat.blocks]
        self.blocks = module_list(blocks)
        self.from_last = module_list(reversed(blocks))  # TorchScript walks a list in its own order alone
        self.final_norm, self.request_time = NormGradient(dcat.final_norm), encoder.request_time
        self.phi_out, self.psi = UnitLayers(encoder.phi_out), UnitLayers(encoder.psi)
        self.losses = InfoNCEGradient(reference)
        self.log_temperature, self.min_temperature = encoder.log_temperature, MIN_TEMPERATURE

    def forward(self, item_TE: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
        """One pass there and back.

        Args:
            item_TE: vectors of the events' items.
            plan: what is asked of them.

        Returns:
            The weighted loss of each pair (P,) float32, and the gradient (T, E) of their sum.
        """
        temperature = self.log_temperature.float().exp().clamp(min=self.min_temperature)
        parts_RE = item_TE[plan.event].masked_fill(plan.hidden[:, None], 0.0) + plan.beside
        unit_RD, hidden_RD, length_R1 = self.phi_in(parts_RE)
        x_RD = self.scale * unit_RD
        saved: list[Saved] = []
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x_RD, of_block = block(x_RD, plan.angles, plan.anchors if i == last else plan.everyone)
            saved.append(of_block)
        output_AD, mean_A1, rstd_A1 = self.final_norm(x_RD)
        states_AO, states_hidden, states_length = self.phi_out(self.request_time(output_AD, plan.gap))
        z_VO, z_hidden, z_length = self.psi(item_TE[plan.targets])
        losses_P, of_states_AO, of_z_VO = self.losses(states_AO, z_VO, temperature, plan)

        grad = self.phi_out.gradient(of_states_AO, states_AO, states_hidden, states_length)
        grad = self.final_norm.gradient(grad, x_RD, mean_A1, rstd_A1)
        for i, block in enumerate(self.from_last):
            grad = block.gradient(grad, saved[last - i], plan.angles, plan.anchors if i == 0 else plan.everyone)
        of_parts_RE = self.phi_in.gradient(self.scale * grad, unit_RD, hidden_RD, length_R1)
        of_items_TE = torch.zeros_like(item_TE).index_add(
            0, plan.event, of_parts_RE.masked_fill(plan.hidden[:, None], 0.0)
        )
        of_targets_VE = self.psi.gradient(of_z_VO, z_VO, z_hidden, z_length)
        return losses_P, of_items_TE.index_add(0, plan.targets, of_targets_VE)
