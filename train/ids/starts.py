"""What the row of a newly admitted item starts from: what the rows of items like it have learned.

    content   its content vector, projected by the ridge regression of rows on content, over the items that have both
    age       the mean of the rows of items of its age group
    init      as in a new table

`managed_ids.new_items` names the first of these to try; an item of which it tells nothing takes the next. Content and
age alike give a weighted sum of known rows, with weights that are the same in each sub-table:

    start_RD = new_RF @ (known_MF.T @ rows_MD)

so that each rank sums over the part of the rows that it holds. A row that content put in its place starts with the
geometric mean of the known rows' Adagrad sums (a few popular items would make the plain mean): from a sum of zero the
first step would move each component by the whole rate, away from there. Where age is all that is known the first steps
had better be large, and sums start at zero as in a new table. docs/results.md, "Cold start", has the measurements.

    R  new items     M  known items     F  traits     D  columns of a sub-table
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchrec.distributed.types import Shard

from pinfm.model.cold_start import has_content
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.distributed import collective_device, sum_over_ranks
from pinfm.train.metrics.slices import age_groups, item_age_seconds

# What the regression adds to the square of each trait: as much as one item whose row is zero.
RIDGE = 1.0
# Known items that are asked, at most: plenty for content vectors of some hundred components.
MOST_KNOWN = 100_000


class NewRows(NamedTuple):
    """What rows start from, as weighted sums of known rows.

    Args:
        new_RF: float32; a row of zeros for an item that is like no known one.
        known_MF: float32.
        rows_M: int64, where the known rows are.
        by_content_R: bool, the rows that content tells of.
    """

    new_RF: Tensor
    known_MF: Tensor
    rows_M: Tensor
    by_content_R: Tensor

    def told_R(self) -> Tensor:
        """(R,) bool, whether known rows tell anything of the item."""
        return self.new_RF.any(dim=1)

    def values(self, shards: Sequence[Shard], dim: int) -> Tensor:
        """The rows' values in one sub-table. Every rank must call it.

        Args:
            shards: this rank's, if it has some.
            dim: columns of the whole sub-table.

        Returns:
            (R, D) float32.
        """
        sums_FD = torch.zeros(self.known_MF.size(1), dim, device=collective_device())
        for shard in shards:
            left, columns = shard.metadata.shard_offsets[1], shard.metadata.shard_sizes[1]
            held_M, places = held(self.rows_M, shard)
            rows = shard.tensor[places].float()
            sums_FD[:, left : left + columns] += self.known_MF[held_M].T.to(rows) @ rows
        return self.new_RF @ sum_over_ranks(sums_FD).cpu()

    def adagrad_sums(self, shards: Sequence[Shard]) -> Tensor:
        """The rows' Adagrad sums in one sub-table. Every rank must call it.

        Args:
            shards: this rank's of the known rows' sums, if it has some.

        Returns:
            (R,) float32.
        """
        total = torch.zeros(2, device=collective_device())
        for shard in shards:
            sums = shard.tensor[held(self.rows_M, shard)[1]]
            logs = sums[sums > 0].log()
            total += torch.tensor([logs.sum(), logs.numel()], device=total.device)
        total = sum_over_ranks(total).cpu()
        return self.by_content_R * torch.exp(total[0] / total[1].clamp(min=1.0)) * (total[1] > 0)


class ItemStarts:
    """Knows what items are like.

    Args:
        dataset: content vectors and times of creation.
        use_content: whether content counts, or age alone.
    """

    def __init__(self, dataset: PreparedDataset, use_content: bool) -> None:
        self._items, self._use_content = dataset.item_attributes, use_content
        # Batches come in no order of time, so an item is as old as it is when training ends.
        self._now, self._thresholds = dataset.info.train_end, dataset.info.age_thresholds

    def of(self, new_R: Tensor, known_M: Tensor, rows_M: Tensor) -> NewRows | None:
        """What the rows of new items start from; None while no item is known.

        Args:
            new_R: int64 ids.
            known_M: int64 ids of items that have rows, ascending; of more than `MOST_KNOWN` a part is asked.
            rows_M: int64, their rows.
        """
        if not len(known_M):
            return None
        step = -(-len(known_M) // MOST_KNOWN)
        known_M, rows_M = known_M[::step], rows_M[::step]
        age_RA, age_MA = self._age_groups(new_R), self._age_groups(known_M)
        mean_RA = age_RA / age_MA.sum(0).clamp(min=1.0) * age_MA.any(dim=0)
        if not self._use_content:
            return NewRows(mean_RA, age_MA, rows_M, torch.zeros(len(new_R), dtype=torch.bool))
        content_RC, content_MC = self._content(new_R), self._content(known_M)
        gram_CC = content_MC.T @ content_MC + RIDGE * torch.eye(content_MC.size(1))
        projection_RC = torch.linalg.solve(gram_CC, content_RC.T).T
        # The last component is 1 where there is content; without any among the known items nothing can be projected.
        has_R1 = content_RC[:, -1:] * content_MC[:, -1].any()
        new_RF = torch.cat([projection_RC * has_R1, mean_RA * (1.0 - has_R1)], dim=1)
        return NewRows(new_RF, torch.cat([content_MC, age_MA], dim=1), rows_M, has_R1.squeeze(1) > 0)

    def _content(self, ids_N: Tensor) -> Tensor:
        """(N, K + 1): content vectors of length 1, then 1; zeros for items without content."""
        content_NK = torch.from_numpy(self._items.content(ids_N.numpy()))
        return torch.cat([F.normalize(content_NK, dim=1), has_content(content_NK)[:, None].float()], dim=1)

    def _age_groups(self, ids_N: Tensor) -> Tensor:
        """(N, 3): 1 in the column of the item's age group; zeros for an unknown item."""
        age_seconds_N = item_age_seconds(np.full(len(ids_N), self._now), self._items.created_at(ids_N.numpy()))
        return torch.stack(age_groups(age_seconds_N, self._thresholds), dim=1).float()


def held(rows_R: Tensor, shard: Shard) -> tuple[Tensor, Tensor]:
    """(R,) bool, whether a shard holds the row; and the places in the shard of those that it holds."""
    first, size = shard.metadata.shard_offsets[0], shard.metadata.shard_sizes[0]
    held_R = (rows_R >= first) & (rows_R < first + size)
    return held_R, rows_R[held_R] - first
