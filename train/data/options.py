"""What a user may choose of a prepared dataset, whatever its source."""

from dataclasses import dataclass, field
from typing import Literal

from pinfm.embeddings.errors import UserError, require_types
from pinfm.model.item_ages import age_thresholds
from pinfm.model.live_counts import LABEL_DELAY_SECONDS, WINDOWS, LiveCountsSpec


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """What holds for every source.

    Args:
        on_bad_rows: `fail` stops at the first bad row; `skip` drops, counts and keeps bad rows in rejects.parquet.
        max_history: most events in a request's history.
        num_buckets: files that users are spread over; None takes 16, or more where a bucket would pass 4M rows,
            because a bucket's requests are sorted in memory.
        memory_gib: memory that DuckDB may use before it spills to disk.
        item_age_thresholds: two ages, such as [1h, 4h]: an item is young below the first and old from the second on,
            for item-age dropout and the slices of reports; by default read off how old items are when they are shown.
        live_counts: features that count what has happened until each request: of `item`, of an attribute of items such
            as `shop`, or of a user and an attribute such as `user.shop`; none by default.
        live_counts_windows: how far back they look: minutes, hours, days, such as 30min, 6h, 7d, or `all`; by default
            the longest four of 15min, 1h, 6h, 1d and 7d that a quarter of the training split's time holds, and `all`.
        live_counts_kinds: what they count: `impression`, actions, and `label_TASK` for the labels of a task; by default
            impressions, every action, and the labels of tasks of which the events lack a tenth or more.
        live_counts_label_delay_minutes: a label has no time of its own, so it counts from so long after its impression.
    """

    on_bad_rows: Literal["fail", "skip"] = "fail"
    max_history: int = 256
    num_buckets: int | None = None
    memory_gib: float = 4.0
    item_age_thresholds: list[str] = field(default_factory=list)
    live_counts: list[str] = field(default_factory=list)
    live_counts_windows: list[str] = field(default_factory=list)
    live_counts_kinds: list[str] = field(default_factory=list)
    live_counts_label_delay_minutes: float = LABEL_DELAY_SECONDS / 60

    def __post_init__(self) -> None:
        require_types("", self)
        for name in ("max_history", "num_buckets", "memory_gib"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"{name} ({value}) must be positive; leave the flag out for the default")
        if self.item_age_thresholds:
            age_thresholds("item_age_thresholds", self.item_age_thresholds)
        self._require_live_counts()
        if not 0.1 <= self.memory_gib <= 1e6:
            raise UserError(f"memory_gib ({self.memory_gib}) must lie between 0.1 and 1,000,000")

    def _require_live_counts(self) -> None:
        """What is wrong whatever the log holds."""
        windows, delay = self.live_counts_windows, self.live_counts_label_delay_minutes
        if not 0 <= delay <= 1e6:
            raise UserError(f"live_counts_label_delay_minutes ({delay}) must lie between 0 and 1,000,000")
        LiveCountsSpec(of=("item",), kinds=("any",), windows=tuple(windows) or WINDOWS)
        changed = windows or self.live_counts_kinds or delay != LABEL_DELAY_SECONDS / 60
        if changed and not self.live_counts:
            raise UserError("the flags of --live-counts are given without it; say what to count, such as item")
