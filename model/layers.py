"""Pointwise layers shared by the tower and the ranker."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


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
