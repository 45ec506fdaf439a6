"""A transformer encoder over feature vectors."""

from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.layers.mlp import feed_forward
from pinfm.model.ranking.interactions.parts.attention import attend, require_heads
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, require_vectors, whole


class Transformer(nn.Module):
    """Pre-LN encoder layers among a candidate's vectors, its request's among them, and a last LayerNorm.

        y = x + W_out [head_1, .., head_H] + b_out      head_h = softmax(Q_h K_h^T / sqrt(D / H)) V_h of LayerNorm(x)
        x' = y + W_2 GELU(W_1 LayerNorm(y) + b_1) + b_2

    Sources: attention from Vaswani et al. 2017 (arXiv 1706.03762, eq. 1), LayerNorm before each half from Xiong et al.
    2020 (arXiv 2002.04745). Pinterest's paper (arXiv 2412.01985) says that two layers of a transformer fitted, and no
    more of them. Our choices: D as the width, 4 D within the MLP, no positions (a vector tells by itself which feature
    it is, as each comes from a table or projection of its own), no biases for Q, K and V (a key's has no effect).

    In the first layer a request's vectors are normed and projected once a request; from then on they have met the
    candidate. Parameters: layers (12 D^2 + 10 D) + 2 D.

    Args:
        shape: R, C, D of the input. Out: R + C vectors of each candidate, of width D.
        layers: how many.
        heads: H, divides D.

    Raises:
        UserError: `heads` does not, or the input is single numbers.
    """

    def __init__(self, shape: FieldShape, *, layers: int, heads: int) -> None:
        super().__init__()
        require_vectors(shape, "transformer")
        require_heads(heads, shape.dim)
        self.out_shape = shape.per_candidate()
        self.layers = module_list(EncoderLayer(shape.dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(shape.dim)

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        for layer in self.layers:
            fields = layer(fields)
        return candidates_alone(fields, self.norm(fields.candidate))


class EncoderLayer(nn.Module):
    """One layer, see `Transformer`.

    Args:
        dim: D.
        heads: H.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.attention_out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = feed_forward("gelu", dim)

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        projected_NFP = whole(Fields(self._projected(fields.request), self._projected(fields.candidate), fields.owner))
        attended_NFD = attend(projected_NFP, self.dim, self.heads, (self.dim // self.heads) ** -0.5)
        x_NFD = whole(fields) + self.attention_out(attended_NFD)
        return candidates_alone(fields, x_NFD + self.mlp(self.mlp_norm(x_NFD)))

    def _projected(self, x_UFD: Tensor) -> Tensor:
        projected_UFP: Tensor = self.query_key_value(self.attention_norm(x_UFD))
        return projected_UFP
