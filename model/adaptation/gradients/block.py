"""A transformer block over the newest rows of histories, with the gradient with respect to these rows.

    R  rows of all sequences     N  the newest of them, which move     D  width     H  heads     d  width of a head
    G  heads of queries, keys and values beside each other

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
        back: the same the other way round, for the gradient of a rotation.
        block: who sees what.
    """

    rows: Tensor
    angles: Tensor
    back: Tensor
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
            keys_RHd: of all rows; those of the rows that move are written into it.
            values_RHd: the same.

        Returns:
            (N, D), and what `gradient` needs.
        """
        normed_ND, mean_N1, rstd_N1 = self.attention_norm(x_ND)
        heads = self.block.num_heads
        projected_NGd = self.block.query_key_value(normed_ND).view(-1, 3 * heads, self.head_dim)
        rotated_NGd = rotate(projected_NGd[:, : 2 * heads], newest.angles)
        query = rotated_NGd[:, :heads]
        keys_RHd.index_copy_(0, newest.rows, rotated_NGd[:, heads:])
        values_RHd.index_copy_(0, newest.rows, projected_NGd[:, 2 * heads :])
        attended, lse = padded.attend_history(query, keys_RHd, values_RHd, newest.block)
        gated_ND, gate_ND = self.gate(attended.flatten(1), normed_ND)
        middle_ND = x_ND + self.block.attention_out(gated_ND)
        middle_normed_ND, middle_mean_N1, middle_rstd_N1 = self.mlp_norm(middle_ND)
        pointwise_ND, hidden = self.mlp(middle_normed_ND)
        saved = Saved(
            x_ND, mean_N1, rstd_N1, query, keys_RHd, values_RHd, attended, lse, gate_ND, middle_ND, middle_mean_N1,
            middle_rstd_N1, hidden,
        )  # fmt: skip
        return middle_ND + pointwise_ND, saved

    @torch.jit.export
    def write_keys_and_values(self, x_ND: Tensor, newest: Newest, keys_RHd: Tensor, values_RHd: Tensor) -> None:
        """`forward` for those who read nothing but the keys and values, as of the last block."""
        keys_NHd, values_NHd = self.block.keys_and_values(self.attention_norm(x_ND)[0], newest.angles)
        keys_RHd.index_copy_(0, newest.rows, keys_NHd)
        values_RHd.index_copy_(0, newest.rows, values_NHd)

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
        of_rotated_NGd = torch.cat([of_query, of_keys[newest.rows]], dim=1)
        of_projected_NGd = torch.cat([rotate(of_rotated_NGd, newest.back), of_values[newest.rows]], dim=1)
        of_normed_ND = of_projected_NGd.flatten(1) @ self.block.query_key_value.weight + of_gate_ND
        of_x_ND: Tensor = self.attention_norm.gradient(of_normed_ND, saved.x_ND, saved.mean_N1, saved.rstd_N1)
        return of_middle_ND + of_x_ND
