"""DCNv2 with full matrices."""

from torch import nn

from pinfm.embeddings.module_list import module_list
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, whole
from pinfm.model.ranking.interactions.parts.split import SplitLinear


class FullRankCross(nn.Module):
    """Stacked layers of DCNv2 (Wang et al. 2021, arXiv 2008.13535, eq. 1): x_{l+1} = x_0 * (W_l x_l + b_l) + x_l.

    x_0 is a candidate's vectors as one, of width W = (R + C) D. In the first layer x_l is x_0, whose request part meets
    its columns of W_0 once a request. Parameters: layers (W^2 + W).

    Args:
        shape: R, C, D of the input. Out: R + C vectors of each candidate, of width D.
        layers: how many.
    """

    def __init__(self, shape: FieldShape, *, layers: int) -> None:
        super().__init__()
        self.out_shape = shape.per_candidate()
        width = shape.width()
        self.first = SplitLinear(shape, width)
        self.later = module_list(nn.Linear(width, width) for _ in range(layers - 1))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, R + C, D)."""
        x_NFD = whole(fields)
        x_0 = x_NFD.flatten(1)
        x = x_0 * self.first(fields) + x_0
        for layer in self.later:
            x = x_0 * layer(x) + x
        return candidates_alone(fields, x.view_as(x_NFD))
