"""The gradient of the self-supervised losses with respect to the event vectors: a forward and a backward pass.

T  events     R  rows of the sequences     N  the newest of them, which move     V  targets
E  width of an item's vector     O  out_dim
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
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.views import hide_items


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
        blocks = [BlockGradient(block) for block in dcat.blocks]
        self.blocks = module_list(blocks)
        self.from_last = module_list(reversed(blocks))  # TorchScript walks a list in its own order alone
        self.final_norm, self.request_time = NormGradient(dcat.final_norm), encoder.request_time
        self.phi_out, self.psi = UnitLayers(encoder.phi_out), UnitLayers(encoder.psi)
        self.losses = InfoNCEGradient(reference)
        self.log_temperature, self.min_temperature = encoder.log_temperature, MIN_TEMPERATURE

    @torch.jit.export
    def older(self, item_TE: Tensor, plan: Plan) -> Context:
        """All rows of the sequences, encoded: what is made of the older ones stays, and the newest are written over.

        Args:
            item_TE: vectors of the events' items.
            plan: what is asked of them.
        """
        tokens_RD = self.scale * self.phi_in(self._parts(item_TE, plan.event, plan.hidden, plan.beside))[0]
        return self.dcat.encode_context(tokens_RD, plan.lengths)

    @torch.jit.export
    def renewed(self, item_TE: Tensor, plan: Plan, older: Context) -> Context:
        """The sequences encoded again, where the newest rows have moved.

        Args:
            item_TE: vectors of the events' items, as moved.
            plan: what was asked of them.
            older: from the function of this name.
        """
        x_ND = self.scale * self.phi_in(self._newest_parts(item_TE, plan))[0]
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) - 1:
                block.write_keys_and_values(x_ND, plan.newest, older.keys[i], older.values[i])
            else:
                x_ND = block(x_ND, plan.newest, older.keys[i], older.values[i])[0]
        return Context(plan.lengths, older.rows.index_copy(0, plan.newest.rows, x_ND), older.keys, older.values)

    def forward(self, item_TE: Tensor, plan: Plan, older: Context) -> tuple[Tensor, Tensor]:
        """One pass there and back.

        Args:
            item_TE: vectors of the events' items.
            plan: what is asked of them.
            older: from the function of this name.

        Returns:
            The weighted loss of each pair (P,) float32, and the gradient (T, E) of their sum; 0 for events that stay.
        """
        temperature = self.log_temperature.float().exp().clamp(min=self.min_temperature)
        unit_ND, hidden_ND, length_N1 = self.phi_in(self._newest_parts(item_TE, plan))
        x_ND = self.scale * unit_ND
        saved: list[Saved] = []
        for i, block in enumerate(self.blocks):
            x_ND, of_block = block(x_ND, plan.newest, older.keys[i], older.values[i])
            saved.append(of_block)
        output_ND, mean_N1, rstd_N1 = self.final_norm(x_ND)
        states_NO, states_hidden, states_length = self.phi_out(self.request_time(output_ND, plan.gap))
        z_VO, z_hidden, z_length = self.psi(item_TE[plan.targets])
        losses_P, of_states_NO, of_z_VO = self.losses(states_NO, z_VO, temperature, plan)

        grad = self.phi_out.gradient(of_states_NO, states_NO, states_hidden, states_length)
        grad = self.final_norm.gradient(grad, x_ND, mean_N1, rstd_N1)
        for i, block in enumerate(self.from_last):
            grad = block.gradient(grad, saved[-1 - i], plan.newest)
        of_parts_NE = self.phi_in.gradient(self.scale * grad, unit_ND, hidden_ND, length_N1)
        of_targets_VE = self.psi.gradient(of_z_VO, z_VO, z_hidden, z_length)
        rows_N = plan.newest.rows
        of_parts_NE = of_parts_NE.masked_fill(plan.hidden[rows_N, None], 0.0)
        of_items_TE = torch.zeros_like(item_TE).index_add(0, plan.event[rows_N], of_parts_NE)
        return losses_P, of_items_TE.index_add(0, plan.targets, of_targets_VE)

    def _newest_parts(self, item_TE: Tensor, plan: Plan) -> Tensor:
        rows_N = plan.newest.rows
        return self._parts(item_TE, plan.event[rows_N], plan.hidden[rows_N], plan.beside[rows_N])

    def _parts(self, item_TE: Tensor, event_R: Tensor, hidden_R: Tensor, beside_RE: Tensor) -> Tensor:
        return hide_items(item_TE[event_R], hidden_R) + beside_RE
