"""DCNv2 whose matrices are mixtures of low-rank experts."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, whole
from pinfm.model.ranking.interactions.parts.split import SplitLinear


class Experts(nn.Module):
    """From what all experts' V and the gates' matrix make of x: what a layer multiplies x_0 by.

    Args:
        experts: how many.
        rank: hidden numbers of each.
        width: of the output.
    """

    def __init__(self, experts: int, rank: int, width: int) -> None:
        super().__init__()
        self.experts, self.rank = experts, rank
        # Starts as as many `nn.Linear(rank, rank)` do.
        self.within_EKK = nn.Parameter(torch.empty(experts, rank, rank).uniform_(-(rank**-0.5), rank**-0.5))
        self.up = nn.Linear(experts * rank, width)

    def forward(self, down_NH: Tensor) -> Tensor:
        """(N, experts * rank + experts), the gates' logits last -> (N, width)."""
        hidden_NH, gates_NE = torch.split(down_NH, [self.experts * self.rank, self.experts], dim=1)
        hidden_NEK = torch.tanh(hidden_NH).view(down_NH.size(0), self.experts, self.rank)
        hidden_ENK = torch.tanh(torch.bmm(hidden_NEK.transpose(0, 1), self.within_EKK.transpose(1, 2)))
        # Gated here, the experts' last products and their sum are one product, and b is added once: gates sum to 1.
        gated_NEK = hidden_ENK.transpose(0, 1) * torch.softmax(gates_NE, dim=1)[:, :, None]
        out_NW: Tensor = self.up(gated_NEK.flatten(1))
        return out_NW


class MixtureCross(nn.Module):
    """Stacked layers of DCNv2's low-rank mixture (Wang et al. 2021, arXiv 2008.13535, section 3.2).

        x_{l+1} = sum_e G_e(x_l) (x_0 * (U_e tanh(C_e tanh(V_e x_l)) + b)) + x_l

    with U_e, C_e, V_e, b and G of each layer its own. x_0 is a candidate's vectors as one, of width W = (R + C) D. The
    paper leaves the gates and the activation open. Ours: G is the softmax over the experts of a linear map of x_l
    without a bias, and tanh. In the first layer x_l is x_0, whose request part meets its columns of V and of the gates'
    matrix once a request. In the later ones it could too (see `low_rank_cross.py`), which would save a sixth of the
    multiplications that are left for a candidate of 40 vectors, 30 of them of the request, and is not done.
    Parameters: layers (W (experts (2 rank + 1) + 1) + experts rank^2).

    Args:
        shape: R, C, D of the input. Out: R + C vectors of each candidate, of width D.
        layers: how many.
        rank: columns of U_e.
        experts: of a layer, at least 2.

    Raises:
        UserError: one expert, for whom there is no gate.
    """

    def __init__(self, shape: FieldShape, *, layers: int, rank: int, experts: int) -> None:
        super().__init__()
        if experts < 2:
            raise UserError(
                f"ranker.interaction.experts ({experts}) must be at least 2; for one, take dcn_v2_low_rank."
            )
        self.out_shape = shape.per_candidate()
        width, down = shape.width(), experts * (rank + 1)
        self.first_down = SplitLinear(shape, down, bias=False)
        self.first_experts = Experts(experts, rank, width)
        self.later = module_list(
            nn.Sequential(nn.Linear(width, down, bias=False), Experts(experts, rank, width)) for _ in range(layers - 1)
        )

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        x_NFD = whole(fields)
        x_0 = x_NFD.flatten(1)
        x = x_0 * self.first_experts(self.first_down(fields)) + x_0
        for layer in self.later:
            x = x_0 * layer(x) + x
        return candidates_alone(fields, x.view_as(x_NFD))
