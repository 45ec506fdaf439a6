"""InteractionArch: how the ranker's feature vectors meet.

N  candidates     F  feature vectors of each     D  width of a feature vector
"""

import torch
from torch import Tensor, nn


class DotInteraction(nn.Module):
    """DLRM (Naumov et al. 2019): the inner products of all pairs, beside the vectors themselves.

    Args:
        num_features: F.
        dim: D.
    """

    pairs_P: Tensor

    def __init__(self, num_features: int, dim: int) -> None:
        super().__init__()
        self.out_dim = num_features * dim + num_features * (num_features - 1) // 2
        pairs = torch.triu_indices(num_features, num_features, offset=1)
        self.register_buffer("pairs_P", pairs[0] * num_features + pairs[1], persistent=False)

    def forward(self, x_NFD: Tensor) -> Tensor:
        """(N, F, D) -> (N, out_dim)."""
        products_NFF = torch.matmul(x_NFD, x_NFD.transpose(1, 2))
        return torch.cat([x_NFD.flatten(1), products_NFF.flatten(1).index_select(1, self.pairs_P)], dim=1)


class CrossLayer(nn.Module):
    """One DCNv2 layer (Wang et al. 2021) of low rank: x_0 * (U V x + b) + x.

    Args:
        dim: width of x.
        rank: columns of U.
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, dim)

    def forward(self, x_0: Tensor, x: Tensor) -> Tensor:
        """(N, dim), (N, dim) -> (N, dim)."""
        crossed: Tensor = x_0 * self.up(self.down(x)) + x
        return crossed


class CrossInteraction(nn.Module):
    """Stacked DCNv2 layers over the concatenated vectors; the output stands beside the input, as in the baseline ranker
    of arXiv 2412.01985.

    Args:
        num_features: F.
        dim: D.
        num_layers: cross layers.
        rank: rank of each.
    """

    def __init__(self, num_features: int, dim: int, num_layers: int, rank: int) -> None:
        super().__init__()
        width = num_features * dim
        self.out_dim = 2 * width
        self.layers = nn.ModuleList([CrossLayer(width, rank) for _ in range(num_layers)])

    def forward(self, x_NFD: Tensor) -> Tensor:
        """(N, F, D) -> (N, out_dim)."""
        x_0 = x_NFD.flatten(1)
        x = x_0
        for layer in self.layers:
            x = layer(x_0, x)
        return torch.cat([x_0, x], dim=1)
