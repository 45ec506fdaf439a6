"""WuKong: stacked factorisation machines, each beside a linear path."""

import torch
from torch import Tensor, nn

from pinfm.model.layers.mlp import MLP
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, candidates_alone, require_vectors, whole
from pinfm.model.ranking.interactions.parts.residual import AddAndNorm
from pinfm.model.ranking.interactions.parts.split import SplitCompression


class Wukong(nn.Module):
    """WuKong (Zhang et al. 2024, arXiv 2403.02545, section 3): the order of interactions doubles with each layer.

        X_{l+1} = LN([FMB(X_l), LCB(X_l)] + X_l)
        FMB(X) = reshape(MLP(LN(flatten(X X^T Y))))         LCB(X) = W X

    X_0 holds a candidate's F = R + C vectors as rows. FMB and LCB give `vectors` rows each (n_F and n_L of the paper);
    where 2 vectors is not F, the residual is a linear map of the rows. Our choices: n_F = n_L; one hidden layer with
    GELU; Y is learned as it is (the paper may also make it from the input); no bias in the maps of rows.

    Parameters of a layer that reads F vectors, of width D:
    3 F rank + (F rank + 1) width + (width + 1) vectors D + F vectors + 2 D, and 2 F vectors where F is not 2 vectors.

    Args:
        shape: R, C, D of the input. Out: 2 `vectors` vectors of each candidate, of width D.
        layers: how many.
        rank: columns of Y.
        vectors: what each of the two blocks of a layer gives.
        width: of the MLP's hidden layer.

    Raises:
        UserError: the input is no vectors but single numbers.
    """

    def __init__(self, shape: FieldShape, *, layers: int, rank: int, vectors: int, width: int) -> None:
        super().__init__()
        require_vectors(shape, "wukong")
        self.out_shape = FieldShape(0, 2 * vectors, shape.dim)
        self.layers = nn.ModuleList(
            WukongLayer(self.out_shape if i else shape, rank, vectors, width) for i in range(layers)
        )

    def forward(self, fields: Fields) -> Fields:
        """(U, R, D), (N, C, D) -> (N, 2 vectors, D)."""
        for layer in self.layers:
            fields = candidates_alone(fields, layer(fields))
        return fields


class WukongLayer(nn.Module):
    """One layer, see `Wukong`.

    Args:
        shape: of the input.
        rank: columns of Y.
        vectors: what each of the two blocks gives.
        width: of the MLP's hidden layer.
    """

    def __init__(self, shape: FieldShape, rank: int, vectors: int, width: int) -> None:
        super().__init__()
        self.machine = FactorisationMachine(shape, rank, vectors, width)
        self.linear = SplitCompression(shape, vectors)
        self.end = AddAndNorm(shape, 2 * vectors)

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> (N, 2 vectors, D)."""
        out_NVD: Tensor = self.end(torch.cat([self.machine(fields), self.linear(fields)], dim=1), fields)
        return out_NVD


class FactorisationMachine(nn.Module):
    """FMB: inner products of all vectors with `rank` sums of them, brought back to vectors by an MLP.

    Only the sums Y^T X have a part that belongs to the request: the products do not, since each of them meets the
    candidate's vectors, and LN mixes them all.

    Args:
        shape: of the input.
        rank: sums.
        vectors: of the output.
        width: of the MLP's hidden layer.
    """

    def __init__(self, shape: FieldShape, rank: int, vectors: int, width: int) -> None:
        super().__init__()
        self.sums = SplitCompression(shape, rank)
        products = shape.vectors() * rank
        self.norm = nn.LayerNorm(products)
        self.mlp = MLP([products, width, vectors * shape.dim])

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> (N, vectors, D)."""
        products_NFK = torch.matmul(whole(fields), self.sums(fields).transpose(1, 2))
        vectors_NVD: Tensor = self.mlp(self.norm(products_NFK.flatten(1))).unflatten(1, [-1, fields.candidate.size(2)])
        return vectors_NVD
