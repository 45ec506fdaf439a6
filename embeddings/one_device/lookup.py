"""Id tables on one device, in torch alone: what a borrowed tower holds.

Training holds the same sub-tables, under the same names, in a sharded TorchRec collection
(`embeddings/sharded/collections.py`).
"""

import torch
from torch import Tensor, nn

from pinfm.embeddings.rows import rows_finder
from pinfm.embeddings.specs import IdTable


class MultiHashEmbedding(nn.Module):
    """The vectors of ids: one row from each sub-table, concatenated.

    Args:
        table: the id space.

    Example:
        >>> table = IdTable(name="item", num_hashes=8, rows=1000, dim=4)
        >>> MultiHashEmbedding(table)(torch.tensor([3, -5])).shape
        torch.Size([2, 32])
    """

    def __init__(self, table: IdTable) -> None:
        super().__init__()
        self.dim = table.num_hashes * table.dim
        self.find = rows_finder(table)
        self.embeddings = nn.ModuleDict({name: nn.Embedding(table.rows, table.dim) for name in table.sub_tables()})
        for weight in self.embeddings.parameters():
            nn.init.uniform_(weight, *init_range(table))

    def forward(self, ids_N: Tensor) -> Tensor:
        """Looks ids up.

        Args:
            ids_N: int64.

        Returns:
            (N, num_hashes * dim) float32.
        """
        rows_KN = self.find(ids_N)
        vectors = []
        for k, embedding in enumerate(self.embeddings.values()):
            vectors.append(embedding(rows_KN[k]))
        return torch.cat(vectors, dim=1)


def init_range(table: IdTable) -> tuple[float, float]:
    """The bounds of a new row's values: the squared length of a new vector is 1/3 on average, whatever its width."""
    bound = (table.num_hashes * table.dim) ** -0.5
    return -bound, bound
