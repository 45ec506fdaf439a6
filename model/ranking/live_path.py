"""A straight way from the counters of what is happening now to the predictions, beside the deep one (Wide & Deep).

N  candidates     L  counters and their rates     K  tasks
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pinfm.model.schema import Feature


class LivePath(nn.Module):
    """What counters add to each task's logit, linearly.

    A log of hours has a hundred steps to learn from: an MLP on the way would still be half random, and ids that were
    popular an hour ago outweigh it.

    Args:
        features: the L counters and rates.
        columns: where they stand among the dense features of a candidate.
        num_tasks: K.
        clip: bound of a scaled value.
    """

    columns: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, features: Sequence[Feature], columns: Sequence[int], num_tasks: int, clip: float) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(list(columns), dtype=torch.int64), persistent=False)
        self.register_buffer("mean", torch.tensor([feature.mean for feature in features]))
        self.register_buffer("std", torch.tensor([feature.std for feature in features]))
        self.clip = clip
        self.linear = nn.Linear(len(features), num_tasks, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, dense_NM: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, M) raw dense features of candidates, rates among them -> (N, K) of `dtype`, to be added to the logits."""
        raw_NL = dense_NM[:, self.columns]
        scaled_NL = ((raw_NL.sign() * torch.log1p(raw_NL.abs())) - self.mean) / self.std
        added_NK: Tensor = self.linear(scaled_NL.clamp(-self.clip, self.clip).to(dtype))
        return added_NK


class NoLivePath(nn.Module):
    """Requests bring no counters."""

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.num_tasks = num_tasks

    def forward(self, dense_NM: Tensor, dtype: torch.dtype) -> Tensor:
        """Zeros (N, K)."""
        return torch.zeros([dense_NM.size(0), self.num_tasks], dtype=dtype, device=dense_NM.device)
