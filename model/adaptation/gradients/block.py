"""A transformer block over the newest rows of histories, with the gradient with respect to these rows.

    R  rows of all sequences     N  the newest of them, which move     D  width     H  heads     d  width of a head

Attention is causal: what is made of older rows does not change when newer ones move. Their keys and values come in as
they are, from one pass over everything.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.adaptation.gradients.pointwise import NormGradient, feed_forward_gradient, gate_gradient
from pinfm.model.attention import padded
from pinfm.model.attention.visibility import PaddedCrossing
from pinfm.model.layers.transformer import Block, rotate


class Newest(NamedTuple):
    """The rows that move, and what they see.

    Args:
        rows: (N,) int64, among those of the sequences; each sees the rows of its sequence up to itself.
        angles: (N, 2, d / 2) of their positions.
        block: who sees what.
    """

    rows: Tensor
    angles: Tensor
    block: PaddedCrossing


class Saved(NamedTuple):
    """What a block's gradient needs of its forward pass."""

    x_ND: Tensor
    mean_N1: Tensor
    rstd_N1: Tensor
    query_NHd: Tensor
    keys_RHd: Tensor
    values_RHd: Tensor
    attended_NHd: Tensor
    lse_NH: Tensor
    gate_ND: Tensor
    middle_ND: Tensor
    middle_mean_N1: Tensor
    middle_rstd_N1: Tensor
    hidden: Tensor


class BlockGradient(nn.Module):
    """A block that remembers.

    Args:
        block: the trained block, in evaluation mode.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block, self.head_dim = block, block.attention_out.in_features // block.num_heads
        self.attention_norm, self.mlp_norm = NormGradient(block.attention_norm), NormGradient(block.mlp_norm)
        self.gate, self.mlp = gate_gradient(block.attention_gate), feed_forward_gradient(block.mlp)

    def forward(self, x_ND: Tensor, newest: Newest, keys_RHd: Tensor, values_RHd: Tensor) -> tuple[Tensor, Saved]:
        """The block's output for the rows that move.

        Args:
            x_ND: its input.
            newest: which rows they are.
            keys_RHd: of all rows, as they were before any moved.
            values_RHd: the same.

        Returns:
            (N, D), and what `gradient` needs.
        """
        normed_ND, mean_N1, rstd_N1 = self.attention_norm(x_ND)
        projected = self.block.query_key_value(normed_ND).view(-1, 3, self.block.num_heads, self.head_dim).unbind(1)
        query, keys, values = (
            rotate(projected[0], newest.angles),
            rotate(projected[1], newest.angles),
            projected[2].contiguous(),
        )
        if keys_RHd.size(0) != keys.size(0):  # or all rows move, and stand as they do there
            keys, values = keys_RHd.index_copy(0, newest.rows, keys), values_RHd.index_copy(0, newest.rows, values)
        attended, lse = padded.attend_history(query, keys, values, newest.block)
        gated_ND, gate_ND = self.gate(attended.flatten(1), normed_ND)
        middle_ND = x_ND + self.block.attention_out(gated_ND)
        middle_normed_ND, middle_mean_N1, middle_rstd_N1 = self.mlp_norm(middle_ND)
        pointwise_ND, hidden = self.mlp(middle_normed_ND)
        saved = Saved(
            x_ND, mean_N1, rstd_N1, query, keys, values, attended, lse, gate_ND, middle_ND, middle_mean_N1,
            middle_rstd_N1, hidden,
        )  # fmt: skip
        return middle_ND + pointwise_ND, saved

    @torch.jit.export
    def keys_and_values(self, x_ND: Tensor, newest: Newest) -> tuple[Tensor, Tensor]:
        """What later rows need of those that move, (N, H, d) each."""
        return self.block.keys_and_values(self.attention_norm(x_ND)[0], newest.angles)

    @torch.jit.export
    def gradient(self, grad_ND: Tensor, saved: Saved, newest: Newest) -> Tensor:
        """The gradient with respect to the block's input.

        Args:
            grad_ND: with respect to its output.
            saved: of the forward pass.
            newest: as there.

        Returns:
            (N, D).
        """
        of_normed_ND = self.mlp.gradient(grad_ND, saved.hidden)
        of_middle_ND = grad_ND + self.mlp_norm.gradient(
            of_normed_ND, saved.middle_ND, saved.middle_mean_N1, saved.middle_rstd_N1
        )
        of_gated_ND = of_middle_ND @ self.block.attention_out.weight
        of_attended_ND, of_gate_ND = self.gate.gradient(of_gated_ND, saved.attended_NHd.flatten(1), saved.gate_ND)
        of_query, of_keys, of_values = padded.attend_history_backward(
            of_attended_ND.view_as(saved.attended_NHd),
            saved.query_NHd,
            saved.keys_RHd,
            saved.values_RHd,
            saved.attended_NHd,
            saved.lse_NH,
            newest.block,
        )
        if of_keys.size(0) != of_query.size(0):
            of_keys, of_values = of_keys[newest.rows], of_values[newest.rows]
        of_projected = [rotate_back(of_query, newest.angles), rotate_back(of_keys, newest.angles), of_values]
        of_normed_ND = torch.cat(of_projected, dim=1).flatten(1) @ self.block.query_key_value.weight + of_gate_ND
        of_x_ND: Tensor = self.attention_norm.gradient(of_normed_ND, saved.x_ND, saved.mean_N1, saved.rstd_N1)
        return of_middle_ND + of_x_ND


def rotate_back(x_THd: Tensor, angles_T: Tensor) -> Tensor:
    """The inverse of `rotate`, which is its gradient."""
    return rotate(x_THd, torch.stack([angles_T[:, 0], -angles_T[:, 1]], dim=1))
