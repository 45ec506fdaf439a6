"""What can be counted in a history without a tower: the user statistics that production rankers have always had.

U  requests     T  events     A  actions
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pinfm.model.inputs import History, Reads
from pinfm.model.layers.jagged import starts
from pinfm.model.schema import Feature

# The newest events say how the user feels now; all of the history says how the user is.
NEWEST = 8


class HistoryCounts(nn.Module):
    """Each action's events among the newest few and in all of a history, and the time since the newest.

    Args:
        num_actions: A; events of unknown action are not counted.
    """

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.num_actions, self.newest = num_actions, NEWEST

    def forward(self, history: History, reads: Reads, request_timestamp_U: Tensor) -> Tensor:
        """Counts.

        Args:
            history: T events.
            reads: which of them each of U requests sees.
            request_timestamp_U: when each request was made.

        Returns:
            (U, 2 A + 1) float32, in the order of `count_features`.
        """
        actions_A = torch.arange(1, self.num_actions + 1, device=history.action.device)
        events_TA = history.action[:, None] == actions_A[None, :]
        so_far_TA = torch.cumsum(events_TA.to(torch.int64), 0)
        before_TA = torch.cat([torch.zeros_like(actions_A)[None, :], so_far_TA])
        first_U = starts(history.lengths)[reads.history]
        end_U = first_U + reads.visible
        recent_U = torch.maximum(first_U, end_U - self.newest)
        newest_timestamp_U = torch.zeros_like(request_timestamp_U)
        if history.timestamp.numel() > 0:
            newest_timestamp_U = history.timestamp[(end_U - 1).clamp(min=0)]
        gap_U = (request_timestamp_U - newest_timestamp_U).clamp(min=0).masked_fill(reads.visible == 0, 0)
        counts = [before_TA[end_U] - before_TA[recent_U], before_TA[end_U] - before_TA[first_U], gap_U[:, None]]
        return torch.cat(counts, dim=1).float()


class NoHistoryCounts(nn.Module):
    """The ranker counts nothing."""

    def forward(self, history: History, reads: Reads, request_timestamp_U: Tensor) -> Tensor:
        """(U, 0)."""
        return torch.zeros([request_timestamp_U.size(0), 0], device=request_timestamp_U.device)


def count_features(actions: Sequence[str]) -> tuple[Feature, ...]:
    """The dense features that `HistoryCounts` adds; DenseArch takes their logarithm and scales it as it says here."""
    counted = [f"newest_{action}_events" for action in actions] + [f"all_{action}_events" for action in actions]
    counts = [Feature(name=name, kind="dense", scope="request", mean=1.0, std=1.0) for name in counted]
    # In log seconds: from a minute to a month gaps lie within two standard deviations.
    gap = Feature(name="seconds_since_newest_event", kind="dense", scope="request", mean=10.0, std=3.0)
    return (*counts, gap)
