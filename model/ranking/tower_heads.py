"""What the tower's output alone says of each task, and whether the ranker's logits begin with it.

N  candidates     O  width of the tower's output     K  tasks
"""

import torch
from torch import Tensor

from pinfm.model.layers.mlp import MLP


class TowerHeads(MLP):
    """Predictions from the tower's output, beside those of the ranker.

    Args:
        out_dim: O.
        num_tasks: K.
    """

    def __init__(self, out_dim: int, num_tasks: int) -> None:
        super().__init__([out_dim, out_dim, num_tasks])
        self.num_tasks = num_tasks

    def added(self, tower_NO: Tensor) -> Tensor:
        """(N, K): what is added to the ranker's logits, which is nothing."""
        return torch.zeros([tower_NO.size(0), self.num_tasks], dtype=tower_NO.dtype, device=tower_NO.device)


class AddedTowerHeads(TowerHeads):
    """A straight way for the tower beside the deep one: the ranker learns what the tower's own predictions lack.

    Few labels do not teach an MLP from random weights what a pretrained tower has to say.
    """

    def added(self, tower_NO: Tensor) -> Tensor:
        """(N, K): the predictions."""
        # TorchScript knows no self(...) of a module's own.
        logits_NK: Tensor = self.forward(tower_NO)  # type: ignore[no-untyped-call]
        return logits_NK
