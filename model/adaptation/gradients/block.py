"""A transformer block over the newest rows of histories, with the gradient with respect to these rows.

    R  rows of all sequences     S  the newest of them, which move     D  width     H  heads     d  width of a head

Attention is causal: what is made of older rows does not change when newer ones move. Their keys and values come in as
they are, from one pass over everything.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.adaptation.gradients.pointwise import NormGradient, feed_forward_gradient, gate_gradient
from pinfm.model.attention import padded
from pinfm.model.attention.visibility import PaddedCrossing
from pinfm.model.layers.transformer import Block, rotate


class Newest(NamedTuple):
    """The rows that move, and what they see.

    Args:
        rows: (S,) int64, among those of the sequences; each sees the rows of its sequence up to itself.
        angles: (S, 2, d / 2) of their positions.
        block: who sees what.
    """

    rows: Tensor
    angles: Tensor
    block: PaddedCrossing


class Saved(NamedTuple):
    """What a block's gradient needs of its forward pass."""

    x_SD: Tensor
    mean_S1: Tensor
    rstd_S1: Tensor
    query_SHd: Tensor
    keys_RHd: Tensor
    values_RHd: Tensor
    attended_SHd: Tensor
    lse_SH: Tensor
    gate_SD: Tensor
    middle_SD: Tensor
    middle_mean_S1: Tensor
    middle_rstd_S1: Tensor
    hidden: Tensor


class BlockGradient(nn.Module):
    """A block that remembers.

    Args:
        block: the trained block, in evaluation mode.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.attention_norm, self.mlp_norm = NormGradient(block.attention_norm), NormGradient(block.mlp_norm)
        self.gate, self.mlp = gate_gradient(block.attention_gate), feed_forward_gradient(block.mlp)

    def forward(self, x_SD: Tensor, newest: Newest, keys_RHd: Tensor, values_RHd: Tensor) -> tuple[Tensor, Saved]:
        """The block's output for the rows that move.

        Args:
            x_SD: its input.
            newest: which rows they are.
            keys_RHd: of all rows, as they were before any moved; (0, H, d) where all move.
            values_RHd: the same.

        Returns:
            (S, D), and what `gradient` needs.
        """
        dim, heads = x_SD.size(1), self.block.num_heads
        normed_SD, mean_S1, rstd_S1 = self.attention_norm(x_SD)
        projection = self.block.query_key_value
        projected = F.linear(normed_SD, projection.weight, projection.bias).view(-1, 3, heads, dim // heads)
        query = rotate(projected[:, 0], newest.angles)
        keys, values = rotate(projected[:, 1], newest.angles), projected[:, 2].contiguous()
        if keys_RHd.size(0) > 0:
            keys, values = keys_RHd.index_copy(0, newest.rows, keys), values_RHd.index_copy(0, newest.rows, values)
        attended, lse = padded.attend_history(query, keys, values, newest.block)
        gated_SD, gate_SD = self.gate(attended.flatten(1), normed_SD)
        middle_SD = x_SD + self.block.attention_out(gated_SD)
        middle_normed_SD, middle_mean_S1, middle_rstd_S1 = self.mlp_norm(middle_SD)
        pointwise_SD, hidden = self.mlp(middle_normed_SD)
        saved = Saved(
            x_SD, mean_S1, rstd_S1, query, keys, values, attended, lse, gate_SD, middle_SD, middle_mean_S1,
            middle_rstd_S1, hidden,
        )  # fmt: skip
        return middle_SD + pointwise_SD, saved

    @torch.jit.export
    def gradient(self, grad_SD: Tensor, saved: Saved, newest: Newest) -> Tensor:
        """The gradient with respect to the block's input.

        Args:
            grad_SD: with respect to its output.
            saved: of the forward pass.
            newest: as there.

        Returns:
            (S, D).
        """
        of_normed_SD = self.mlp.gradient(grad_SD, saved.hidden)
        of_middle_SD = grad_SD + self.mlp_norm.gradient(
            of_normed_SD, saved.middle_SD, saved.middle_mean_S1, saved.middle_rstd_S1
        )
        of_gated_SD = of_middle_SD @ self.block.attention_out.weight
        of_attended_SD, of_gate_SD = self.gate.gradient(of_gated_SD, saved.attended_SHd.flatten(1), saved.gate_SD)
        of_query, of_keys, of_values = padded.attend_history_backward(
            of_attended_SD.view_as(saved.attended_SHd),
            saved.query_SHd,
            saved.keys_RHd,
            saved.values_RHd,
            saved.attended_SHd,
            saved.lse_SH,
            newest.block,
        )
        if of_keys.size(0) != newest.rows.size(0):
            of_keys, of_values = of_keys[newest.rows], of_values[newest.rows]
        of_projected = [rotate_back(of_query, newest.angles), rotate_back(of_keys, newest.angles), of_values]
        of_normed_SD = torch.cat(of_projected, dim=1).flatten(1) @ self.block.query_key_value.weight + of_gate_SD
        of_x_SD: Tensor = self.attention_norm.gradient(of_normed_SD, saved.x_SD, saved.mean_S1, saved.rstd_S1)
        return of_middle_SD + of_x_SD


def rotate_back(x_THd: Tensor, angles_T: Tensor) -> Tensor:
    """The inverse of `rotate`, which is its gradient."""
    return rotate(x_THd, torch.stack([angles_T[:, 0], -angles_T[:, 1]], dim=1))
