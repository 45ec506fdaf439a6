"""DCAT of packed blocks, for serving: a candidate's row has the same bits alone and in any batch.

S  histories     T  their events     U  requests     N  candidates     P  rows of all tiles     D  width
"""

from typing import Optional

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.inference.dense.block import Pack, PackedBlock
from pinfm.inference.dense.tiles import tiles_of
from pinfm.model.attention.runs import runs_of
from pinfm.model.attention.visibility import Histories
from pinfm.model.dcat import DCAT, Context
from pinfm.model.inputs import Reads, own_histories
from pinfm.model.layers.jagged import layout, positions


class PackedDCAT(nn.Module):
    """Takes the place of a `DCAT` whose requests see all of their histories, as when serving.

    Args:
        dcat: the trained one.
        name: its name within the model.
        pack: packs a layer.
    """

    def __init__(self, dcat: DCAT, name: str, pack: Pack) -> None:
        super().__init__()
        self.positions, self.final_norm = dcat.positions, dcat.final_norm
        self.blocks = module_list(PackedBlock(block, f"{name}.blocks.{i}", pack) for i, block in enumerate(dcat.blocks))

    def encode_context(self, x_TD: Tensor, lengths_S: Tensor) -> Context:
        """See `DCAT.encode_context`."""
        among, angles_T = self._among(lengths_S)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            normed_TD = block.attention_norm(x_TD)
            key, value = block.keys_and_values(normed_TD, angles_T)
            keys.append(key)
            values.append(value)
            if i < last:
                x_TD = block.feed_forward(block.context(x_TD, normed_TD, angles_T, key, value, among))
        return Context(lengths_S, x_TD, keys, values)

    def outputs(self, context: Context) -> Tensor:
        """See `DCAT.outputs`."""
        among, angles_T = self._among(context.lengths)
        block = self.blocks[-1]
        x_TD = context.rows
        normed_TD = block.attention_norm(x_TD)
        attended_TD = block.context(x_TD, normed_TD, angles_T, context.keys[-1], context.values[-1], among)
        output_TD: Tensor = self.final_norm(block.feed_forward(attended_TD))
        return output_TD

    def outputs_at(self, context: Context, rows_M: Tensor) -> Tensor:
        """See `DCAT.outputs_at`; in eight bits all rows take less than that does."""
        return self.outputs(context)[rows_M]

    def cross(
        self,
        context: Context,
        x_ND: Tensor,
        candidates_U: Tensor,
        reads: Optional[Reads] = None,  # noqa: UP045
    ) -> Tensor:
        """See `DCAT.cross`.

        Args:
            context: from `encode_context`.
            x_ND: candidate tokens, grouped by request.
            candidates_U: candidates of each request, int64.
            reads: which history each request sees, all of it; None where each has its own.
        """
        if reads is None:
            reads = own_histories(context.lengths)
        assert torch.equal(reads.visible, context.lengths[reads.history]), "a request sees a part of a history"
        tiles = tiles_of(candidates_U, reads, context.lengths)
        x_PD = torch.zeros([tiles.rows, x_ND.size(1)], dtype=x_ND.dtype, device=x_ND.device)
        x_PD = x_PD.index_copy(0, tiles.slots, x_ND)
        for i, block in enumerate(self.blocks):
            x_PD = block.feed_forward(block.cross(x_PD, context.keys[i], context.values[i], tiles))
        output_ND: Tensor = self.final_norm(x_PD)[tiles.slots]
        return output_ND

    def _among(self, lengths_S: Tensor) -> tuple[Histories, Tensor]:
        """Each history in a call of its own, and the angles of its events' positions, counted back from 0."""
        where, no_event_S = layout(lengths_S), torch.zeros_like(lengths_S)
        runs = runs_of(lengths_S, no_event_S, no_event_S)
        angles_T: Tensor = self.positions(positions(lengths_S, where.owners) - lengths_S[where.owners])
        return Histories(runs, where, None), angles_T
