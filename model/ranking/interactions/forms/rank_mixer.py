"""RankMixer: features in a few tokens, which exchange their parts and keep weights of their own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone
from pinfm.model.ranking.interactions.parts.split import SplitLinear


class RankMixer(nn.Module):
    """RankMixer (Zhu et al. 2025, arXiv 2507.15551, section 3), with dense feed-forward layers.

        S = LN(mix(X_l) + X_l)         X_{l+1} = LN(ffn(S) + S)         out: the mean of the last X over tokens

    X_0: a candidate's vectors as one, of width W = (R + C) D, cut into T tokens of equal width, each of which has a
    linear map to `width`. mix has no weights: every token is cut into T heads, and the new token h is head h of all
    tokens. ffn: a hidden layer with GELU, other weights for each token. The paper groups features by what they mean;
    here they stay in their order, the request's first, so that a token of the request alone is made once a request.
    Where T does not divide W, some tokens hold one number more than others.

    Parameters, with H = projection_ratio `width` hidden units:
    (W + T) width + layers (T (2 H width + H + width) + 4 width).

    Args:
        shape: R, C, D of the input. Out: one vector of each candidate, of width `width`.
        layers: how many.
        tokens: T.
        width: of a token.
        projection_ratio: hidden width of the feed-forward layers over `width`.

    Raises:
        UserError: more tokens than numbers, a width that T heads don't divide, or no hidden unit.
    """

    def __init__(self, shape: FieldShape, *, layers: int, tokens: int, width: int, projection_ratio: float) -> None:
        super().__init__()
        _check(shape, tokens, width, projection_ratio)
        self.out_shape = FieldShape(0, 1, width)
        request = shape.request * shape.dim
        cuts = [shape.width() * i // tokens for i in range(tokens + 1)]
        self.request_cuts = [min(cut, request) for cut in cuts]
        self.candidate_cuts = [max(cut - request, 0) for cut in cuts]
        self.tokens = module_list(
            SplitLinear(
                FieldShape(
                    self.request_cuts[i + 1] - self.request_cuts[i],
                    self.candidate_cuts[i + 1] - self.candidate_cuts[i],
                    1,
                ),
                width,
            )
            for i in range(tokens)
        )
        self.layers = nn.ModuleList(
            RankMixerLayer(tokens, width, round(projection_ratio * width)) for _ in range(layers)
        )

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, 1, width)."""
        request_UW1, candidate_NW1 = fields.request.flatten(1)[:, :, None], fields.candidate.flatten(1)[:, :, None]
        tokens: list[Tensor] = []
        for i, token in enumerate(self.tokens):
            request = request_UW1[:, self.request_cuts[i] : self.request_cuts[i + 1]]
            candidate = candidate_NW1[:, self.candidate_cuts[i] : self.candidate_cuts[i + 1]]
            tokens.append(token(Fields(request, candidate, fields.owner)))
        x_TNE = torch.stack(tokens)
        for layer in self.layers:
            x_TNE = layer(x_TNE)
        return candidates_alone(fields, x_TNE.mean(0)[:, None, :])


class RankMixerLayer(nn.Module):
    """Mixing and feed-forward, see `RankMixer`; all tokens in one batched product.

    Args:
        tokens: T, also the heads of each.
        width: E, of a token.
        hidden: of the feed-forward layers.
    """

    def __init__(self, tokens: int, width: int, hidden: int) -> None:
        super().__init__()
        self.mixed_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = TokenLinear(tokens, width, hidden), TokenLinear(tokens, hidden, width)

    def forward(self, x_TNE: Tensor) -> Tensor:
        """(T, N, E) -> (T, N, E)."""
        tokens, candidates, width = x_TNE.shape
        heads_TNHK = x_TNE.view(tokens, candidates, tokens, width // tokens)
        mixed_HNE = heads_TNHK.permute(2, 1, 0, 3).reshape(tokens, candidates, width)
        mixed_TNE = self.mixed_norm(mixed_HNE + x_TNE)
        out_TNE: Tensor = self.norm(self.down(F.gelu(self.up(mixed_TNE))) + mixed_TNE)
        return out_TNE


class TokenLinear(nn.Module):
    """A linear layer of its own for each token, which starts as `nn.Linear` does.

    Args:
        tokens: T.
        in_dim: width of the input.
        out_dim: width of the output.
    """

    def __init__(self, tokens: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        bound = in_dim**-0.5
        self.weight = nn.Parameter(torch.empty(tokens, in_dim, out_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(tokens, 1, out_dim).uniform_(-bound, bound))

    def forward(self, x_TNI: Tensor) -> Tensor:
        """(T, N, in_dim) -> (T, N, out_dim)."""
        return torch.baddbmm(self.bias, x_TNI, self.weight)


def _check(shape: FieldShape, tokens: int, width: int, projection_ratio: float) -> None:
    where = "ranker.interaction"
    if tokens > shape.width():
        raise UserError(
            f"{where}.tokens ({tokens}) must be at most the {shape.width()} numbers that are cut into them."
        )
    if width % tokens:
        below = width // tokens * tokens
        mend = f"{below} or {below + tokens}" if below else f"{tokens}"
        raise UserError(f"{where}.width ({width}) must be a multiple of tokens ({tokens}); try {mend}.")
    if round(projection_ratio * width) < 1:
        raise UserError(f"{where}.projection_ratio ({projection_ratio}) leaves no hidden unit; try 2.0.")
