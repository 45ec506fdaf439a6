"""DHEN: layers in which interactions of different kinds stand beside each other."""

import torch
from torch import Tensor, nn

from pinfm.model.ranking.interactions.forms.cross import FullRankCross
from pinfm.model.ranking.interactions.forms.dot import DotInteraction
from pinfm.model.ranking.interactions.parts.fields import (
    Fields,
    FieldShape,
    candidates_alone,
    per_candidate,
    require_vectors,
)
from pinfm.model.ranking.interactions.parts.residual import AddAndNorm
from pinfm.model.ranking.interactions.parts.split import SplitCompression


class Dhen(nn.Module):
    """DHEN (Zhang et al. 2022, arXiv 2203.11014, section 3).

        X_{l+1} = LN([Interaction_1(X_l), .., Interaction_3(X_l)] + ShortCut(X_l))

    X_0 holds a candidate's F = R + C vectors as rows. Three interactions give `vectors` rows each:

        a linear map of all inner products of two rows, beside the rows themselves (`dot`)
        V (x * (W x + b) + x), with x the rows as one vector (a layer of `dcn_v2_full_rank`), V a map of rows
        V X

    ShortCut is the identity where F is 3 vectors, else a map of rows too. The paper tries several modules and ways to
    combine them. Our choice: one that multiplies vectors, one that multiplies numbers and one that does neither, with
    the same number of rows each, concatenated.

    Parameters of a layer that reads F vectors, of width D: (F D + F (F - 1) / 2 + 1) vectors D + (F D)^2 + F D
    + 2 F vectors + 2 D, and 3 F vectors where F is not 3 vectors.

    Args:
        shape: R, C, D of the input. Out: 3 `vectors` vectors of each candidate, of width D.
        layers: how many.
        vectors: what each interaction of a layer gives.

    Raises:
        UserError: the input is no vectors but single numbers.
    """

    def __init__(self, shape: FieldShape, *, layers: int, vectors: int) -> None:
        super().__init__()
        require_vectors(shape, "dhen")
        self.out_shape = FieldShape(0, 3 * vectors, shape.dim)
        self.layers = nn.ModuleList(DhenLayer(self.out_shape if i else shape, vectors) for i in range(layers))

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, 3 vectors, D)."""
        for layer in self.layers:
            fields = candidates_alone(fields, layer(fields))
        return fields


class DhenLayer(nn.Module):
    """One layer, see `Dhen`.

    Args:
        shape: of the input.
        vectors: what each interaction gives.
    """

    def __init__(self, shape: FieldShape, vectors: int) -> None:
        super().__init__()
        self.dot = DotInteraction(shape.per_candidate())
        self.of_dot = nn.Linear(self.dot.out_shape.width(), vectors * shape.dim)
        self.cross = FullRankCross(shape, layers=1)
        self.of_cross = SplitCompression(self.cross.out_shape, vectors)
        self.linear = SplitCompression(shape, vectors)
        self.end = AddAndNorm(shape, 3 * vectors)

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> (N, 3 vectors, D)."""
        # Not split into a request's part: that would put the columns of `of_dot` in another order, and save a part of
        # what is small beside the cross.
        products: Fields = self.dot(per_candidate(fields))
        of_dot_NVD = self.of_dot(products.candidate.flatten(1)).unflatten(1, [-1, fields.candidate.size(2)])
        given = [of_dot_NVD, self.of_cross(self.cross(fields)), self.linear(fields)]
        out_NVD: Tensor = self.end(torch.cat(given, dim=1), fields)
        return out_NVD
