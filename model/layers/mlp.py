"""Pointwise layers shared by the tower and the ranker."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError, require_choice
from pinfm.model.config import FeedForward, Projections


class MLP(nn.Sequential):
    """Linear layers with GELU between them.

    Args:
        widths: input, hidden and output widths.
        dropout: after each activation.
    """

    def __init__(self, widths: Sequence[int], dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths[:-1]):
            layers += [nn.Linear(width_in, width_out), nn.GELU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(widths[-2], widths[-1]))


class SwiGLU(nn.Module):
    """A gated feed-forward layer (Shazeer, 2020), with about the weights of a plain one of four times the width.

    Args:
        dim: width of input and output.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = -(-8 * dim // 24) * 8
        self.gate_and_value = nn.Linear(dim, 2 * hidden)
        self.out = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)
        output: Tensor = self.out(F.silu(gate) * value)
        return output


def feed_forward(kind: FeedForward, dim: int) -> nn.Module:
    """The pointwise half of a transformer block."""
    require_choice("mlp", kind, FeedForward)
    if kind == "swiglu":
        return SwiGLU(dim)
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))


class NormalizedMLP(nn.Module):
    """A two-layer MLP and L2 normalisation: phi_in, phi_out and psi of the paper.

    Args:
        in_dim: width of the input.
        out_dim: width of the output and of the hidden layer.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.mlp = MLP([in_dim, out_dim, out_dim])

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., out_dim), each vector of length 1."""
        return F.normalize(self.mlp(x), dim=-1)


class NoProjection(nn.Module):
    """Items and states meet as they are, in one space."""

    def forward(self, x: Tensor) -> Tensor:
        """The vectors as they are."""
        return x


def projection(heads: Projections, in_dim: int, out_dim: int) -> NormalizedMLP | NoProjection:
    """phi_in, phi_out or psi.

    Args:
        heads: see `TowerConfig`.
        in_dim: width of the input.
        out_dim: width of the output.

    Raises:
        UserError: tied heads between two widths.
    """
    require_choice("heads", heads, Projections)
    if heads == "normalized_mlp":
        return NormalizedMLP(in_dim, out_dim)
    if in_dim != out_dim:
        raise UserError(
            f"tower.heads tied puts items and states into one space, but an item's vector has {in_dim} columns and the "
            f"transformer {out_dim}; let item_table.num_hashes * item_table.dim be tower.dim."
        )
    return NoProjection()
