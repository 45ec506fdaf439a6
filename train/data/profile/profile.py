"""`profile` in `dataset.json`: figures that settings can be chosen by, and that no reader of the data needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pinfm.embeddings.errors import UserError, require_at_least, require_types


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What kind of log it is: of the training split, but for the last two, which read no label that is held out.

    Args:
        tells_time: whether its times are more than places in an order.
        users: users with an event.
        events_median: events of a user, of those who have any.
        events_p99: the same at the 99th percentile.
        positives: positive labels of each task.
        contents: distinct content vectors among the items.
        unseen: share of what is shown (or, without impressions, of what is done) on the validation split whose item
            occurs nowhere in the training split.
        young: the same share of items below the first of the dataset's `item_age_thresholds`.
    """

    tells_time: bool
    users: int
    events_median: float
    events_p99: float
    positives: Mapping[str, int] = field(default_factory=dict)
    contents: int = 0
    unseen: float = 0.0
    young: float = 0.0

    def __post_init__(self) -> None:
        require_types("profile", self)
        counts = {f"positives.{task}": count for task, count in self.positives.items()}
        require_at_least("profile", 0, users=self.users, contents=self.contents, **counts)
        require_at_least("profile", 0, events_median=self.events_median, events_p99=self.events_p99)
        for name in ("unseen", "young"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"profile.{name} ({getattr(self, name)}) must lie between 0 and 1.")
