"""FinalMLP: two gated MLPs whose outputs meet in bilinear products."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.attention import require_heads
from pinfm.model.ranking.interactions.parts.fields import (
    Fields,
    FieldShape,
    candidates_alone,
    flat,
    require_vectors,
    whole,
)
from pinfm.model.ranking.interactions.parts.split import SplitLinear

# Hidden width of a gate: what it reads is one vector.
GATE_HIDDEN = 64


class FinalMLP(nn.Module):
    """Two-stream MLP (Mao et al. 2023, arXiv 2304.00902): feature gates, and bilinear fusion with many heads.

        o_s = MLP_s(2 sigmoid(gate_s(context_s)) * x), s = 1, 2      products_h = (W_h o_1h) * o_2h

    x is a candidate's vectors as one, of width W = (R + C) D; o_1h, o_2h are the h-th of H equal parts of the streams.
    The paper ends in a logit, b + w_1 o_1 + w_2 o_2 + sum_h o_2h^T W_h o_1h. Here OverArch follows, so o_1, o_2 and the
    products are given unsummed: a linear map of them is that logit, and each hidden unit of OverArch weighs them in its
    own way.

    Left open there: the contexts, "user, item or scene features". Ours are the first and the last vector, which do not
    depend on what is held once a request: in the ranker the user id's, and the candidate's dense features or, without
    any, its last embedding feature. Gates have one hidden layer of 64 and streams two layers, with ReLU.

    Gate 1 reads the request where it has vectors, so that gate and first layer of stream 1 meet its vectors once a
    request. Gate 2 scales them by the candidate: its stream reads all W numbers of each. Parameters, with L the width:
    2 (64 D + 64 + 65 W) + 2 (W L + L + L^2 + L) + L^2 / H.

    Args:
        shape: R, C, D of the input. Out: 3 L numbers of each candidate.
        width: L, of both layers of a stream.
        heads: H, divides L.

    Raises:
        UserError: `heads` does not, or the input is single numbers.
    """

    def __init__(self, shape: FieldShape, *, width: int, heads: int) -> None:
        super().__init__()
        require_vectors(shape, "final_mlp")
        require_heads(heads, width, "ranker.interaction.width")
        self.out_shape = FieldShape(0, 3 * width, 1)
        self.request = shape.request
        self.first_gate, self.second_gate = Gate(shape), Gate(shape)
        self.first = SplitLinear(shape, width)
        self.second = SplitLinear(shape.per_candidate(), width)
        self.first_rest, self.second_rest = _rest(width), _rest(width)
        self.heads = module_list(nn.Linear(width // heads, width // heads, bias=False) for _ in range(heads))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, 3 L) as vectors of width 1."""
        x_NFD = whole(fields)
        first_NL = self.first_rest(self.first(self._gated_by_first(fields)))
        gated_NFD = x_NFD * self.second_gate(x_NFD[:, -1])
        second_NL = self.second_rest(self.second(candidates_alone(fields, gated_NFD)))
        firsts, seconds = first_NL.chunk(len(self.heads), dim=1), second_NL.chunk(len(self.heads), dim=1)
        fused: list[Tensor] = [first_NL, second_NL]
        for i, head in enumerate(self.heads):
            fused.append(head(firsts[i]) * seconds[i])
        return flat(fields, torch.cat(fused, dim=1))

    def _gated_by_first(self, fields: Fields) -> Fields:
        request, candidate, owner_N = fields
        if self.request == 0:
            return Fields(request, candidate * self.first_gate(candidate[:, 0]), owner_N)
        gates_UFD = self.first_gate(request[:, 0])
        of_candidate_NCD = gates_UFD[:, self.request :].index_select(0, owner_N)
        return Fields(request * gates_UFD[:, : self.request], candidate * of_candidate_NCD, owner_N)


class Gate(nn.Module):
    """2 sigmoid(MLP(context)): a factor between 0 and 2 for every number of the input.

    Args:
        shape: of the input.
    """

    def __init__(self, shape: FieldShape) -> None:
        super().__init__()
        self.dim = shape.dim
        self.layers = nn.Sequential(nn.Linear(shape.dim, GATE_HIDDEN), nn.ReLU(), nn.Linear(GATE_HIDDEN, shape.width()))

    def forward(self, context_ND: Tensor) -> Tensor:
        """(N, D) -> (N, R + C, D)."""
        gates_NW: Tensor = 2 * torch.sigmoid(self.layers(context_ND))
        return gates_NW.view(context_ND.size(0), gates_NW.size(1) // self.dim, self.dim)


def _rest(width: int) -> nn.Sequential:
    """A stream after its first linear layer."""
    return nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU())
