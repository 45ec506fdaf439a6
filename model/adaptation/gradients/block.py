"""A transformer block over chosen rows of histories, with the gradient with respect to all rows.

    R  rows of all sequences     A  rows that are asked, in order     D  width     H  heads     d  width of a head

Keys and values are made of all rows; queries and what follows only of the rows whose output is asked. In a lower layer
those are all of them, in the last one the anchors.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.adaptation.gradients.pointwise import NormGradient, feed_forward_gradient, gate_gradient
from pinfm.model.attention import padded
from pinfm.model.attention.visibility import PaddedCrossing
from pinfm.model.layers.transformer import Block, rotate


class Asked(NamedTuple):
    """Whose output is asked, and what it sees.

    Args:
        rows: (A,) int64, rows of the sequences; each sees the rows of its sequence up to itself.
        angles: (A, 2, d / 2) of their positions.
        block: who sees what.
    """

    rows: Tensor
    angles: Tensor
    block: PaddedCrossing


class Saved(NamedTuple):
    """What a block's gradient needs of its forward pass."""

    x_RD: Tensor
    mean_R1: Tensor
    rstd_R1: Tensor
    query_AHd: Tensor
    keys_RHd: Tensor
    values_RHd: Tensor
    attended_AHd: Tensor
    lse_AH: Tensor
    gate_AD: Tensor
    middle_AD: Tensor
    middle_mean_A1: Tensor
    middle_rstd_A1: Tensor
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

    def forward(self, x_RD: Tensor, angles_R: Tensor, asked: Asked) -> tuple[Tensor, Saved]:
        """The block's output for the rows that are asked.

        Args:
            x_RD: its input, of all rows.
            angles_R: (R, 2, d / 2) of their positions.
            asked: whose output.

        Returns:
            (A, D), and what `gradient` needs.
        """
        dim, heads = x_RD.size(1), self.block.num_heads
        normed_RD, mean_R1, rstd_R1 = self.attention_norm(x_RD)
        keys, values = self.block.keys_and_values(normed_RD, angles_R)
        normed_AD = normed_RD[asked.rows]
        projection = self.block.query_key_value
        query_AD = F.linear(normed_AD, projection.weight[:dim], projection.bias[:dim])
        query = rotate(query_AD.view(-1, heads, dim // heads), asked.angles)
        attended, lse = padded.attend_history(query, keys, values, asked.block)
        gated_AD, gate_AD = self.gate(attended.flatten(1), normed_AD)
        middle_AD = x_RD[asked.rows] + self.block.attention_out(gated_AD)
        middle_normed_AD, middle_mean_A1, middle_rstd_A1 = self.mlp_norm(middle_AD)
        pointwise_AD, hidden = self.mlp(middle_normed_AD)
        saved = Saved(
            x_RD, mean_R1, rstd_R1, query, keys, values, attended, lse, gate_AD, middle_AD, middle_mean_A1,
            middle_rstd_A1, hidden,
        )  # fmt: skip
        return middle_AD + pointwise_AD, saved

    @torch.jit.export
    def gradient(self, grad_AD: Tensor, saved: Saved, angles_R: Tensor, asked: Asked) -> Tensor:
        """The gradient with respect to the block's input.

        Args:
            grad_AD: with respect to its output.
            saved: of the forward pass.
            angles_R: as there.
            asked: as there.

        Returns:
            (R, D).
        """
        dim = grad_AD.size(1)
        of_normed_AD = self.mlp.gradient(grad_AD, saved.hidden)
        of_middle_AD = grad_AD + self.mlp_norm.gradient(
            of_normed_AD, saved.middle_AD, saved.middle_mean_A1, saved.middle_rstd_A1
        )
        of_gated_AD = of_middle_AD @ self.block.attention_out.weight
        of_attended_AD, gate_of_normed_AD = self.gate.gradient(
            of_gated_AD, saved.attended_AHd.flatten(1), saved.gate_AD
        )
        of_query, of_keys, of_values = padded.attend_history_backward(
            of_attended_AD.view_as(saved.attended_AHd),
            saved.query_AHd,
            saved.keys_RHd,
            saved.values_RHd,
            saved.attended_AHd,
            saved.lse_AH,
            asked.block,
        )
        weight = self.block.query_key_value.weight
        of_keys_and_values = torch.cat([rotate_back(of_keys, angles_R).flatten(1), of_values.flatten(1)], dim=1)
        of_normed_RD = of_keys_and_values @ weight[dim:]
        of_query_AD = rotate_back(of_query, asked.angles).flatten(1) @ weight[:dim]
        of_normed_RD = of_normed_RD.index_add(0, asked.rows, of_query_AD + gate_of_normed_AD)
        of_x_RD = self.attention_norm.gradient(of_normed_RD, saved.x_RD, saved.mean_R1, saved.rstd_R1)
        output_RD: Tensor = of_x_RD.index_add(0, asked.rows, of_middle_AD)
        return output_RD


def rotate_back(x_THd: Tensor, angles_T: Tensor) -> Tensor:
    """The inverse of `rotate`, which is its gradient."""
    return rotate(x_THd, torch.stack([angles_T[:, 0], -angles_T[:, 1]], dim=1))
