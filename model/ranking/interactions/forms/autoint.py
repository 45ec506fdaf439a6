"""AutoInt: self-attention among feature vectors."""

import torch.nn.functional as F
from torch import nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.attention import attend, require_heads
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, require_vectors, whole


class AutoInt(nn.Module):
    """Stacked interacting layers of AutoInt (Song et al. 2019, arXiv 1810.11921, eq. 5 to 8).

        e'_i = ReLU([head_1, .., head_H] + W_res e_i)
        head_h = sum_j softmax_j(<Q_h e_i, K_h e_j>) V_h e_j

    over all vectors e_j of a candidate, its request's among them. As in the paper no map has a bias, and the inner
    products are not scaled. The width of a head is a setting there; we take D / H, so that layers keep D. In the first
    layer a request's vectors are projected once a request; from then on they have met the candidate.
    Parameters: layers 4 D^2.

    Args:
        shape: R, C, D of the input. Out: R + C vectors of each candidate, of width D.
        layers: how many.
        heads: H, divides D.

    Raises:
        UserError: `heads` does not, or the input is single numbers.
    """

    def __init__(self, shape: FieldShape, *, layers: int, heads: int) -> None:
        super().__init__()
        require_vectors(shape, "autoint")
        require_heads(heads, shape.dim)
        self.out_shape = shape.per_candidate()
        self.layers = module_list(InteractingLayer(shape.dim, heads) for _ in range(layers))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        for layer in self.layers:
            fields = layer(fields)
        return fields


class InteractingLayer(nn.Module):
    """One layer, see `AutoInt`.

    Args:
        dim: D.
        heads: H.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.projection = nn.Linear(dim, 4 * dim, bias=False)  # Q, K, V and W_res

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        request, candidate, owner_N = fields
        projected_NFP = whole(Fields(self.projection(request), self.projection(candidate), owner_N))
        attended_NFD = attend(projected_NFP, self.dim, self.heads, 1.0)
        return candidates_alone(fields, F.relu(attended_NFD + projected_NFP[:, :, 3 * self.dim :]))
