"""GDCN's gated cross network: full-rank DCNv2 whose layers choose what of each cross they let through."""

import torch
from torch import Tensor, nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, whole
from pinfm.model.ranking.interactions.parts.split import SplitLinear


class GatedLinear(nn.Module):
    """(C x + b) * sigmoid(G x), what a layer multiplies x_0 by.

    Args:
        width: of x and of the output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross = nn.Linear(width, width)
        self.gate = nn.Linear(width, width, bias=False)

    def forward(self, x_NW: Tensor) -> Tensor:
        """(N, width) -> (N, width)."""
        out_NW: Tensor = self.cross(x_NW) * torch.sigmoid(self.gate(x_NW))
        return out_NW


class GatedCross(nn.Module):
    """Stacked gated layers of crosses (Wang et al. 2023, arXiv 2311.04635).

        x_{l+1} = x_0 * (C_l x_l + b_l) * sigmoid(G_l x_l) + x_l

    x_0 is a candidate's vectors as one, of width W = (R + C) D. In the first layer x_l is x_0, whose request part meets
    its columns of C_0 and G_0 once a request; later ones meet what the sigmoid made of request and candidate together.
    Parameters: layers (2 W^2 + W). Of the paper's parts only the cross network is here: a deep one beside or after it
    is the ranker's own MLP, and the widths of the features' vectors are the tables'.

    Args:
        shape: R, C, D of the input. Out: R + C vectors of each candidate, of width D.
        layers: how many.
    """

    def __init__(self, shape: FieldShape, *, layers: int) -> None:
        super().__init__()
        self.out_shape = shape.per_candidate()
        width = shape.width()
        self.first_cross = SplitLinear(shape, width)
        self.first_gate = SplitLinear(shape, width, bias=False)
        self.later = module_list(GatedLinear(width) for _ in range(layers - 1))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        x_NFD = whole(fields)
        x_0 = x_NFD.flatten(1)
        x = x_0 * self.first_cross(fields) * torch.sigmoid(self.first_gate(fields)) + x_0
        for layer in self.later:
            x = x_0 * layer(x) + x
        return candidates_alone(fields, x.view_as(x_NFD))
