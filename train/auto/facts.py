"""What rules may know of a prepared dataset: read from `dataset.json`, so equal data always get equal settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pinfm.train.data.info import DatasetInfo

_DAY = 86_400
# Clocks that end here count from a beginning of their own, such as the first row.
_END_OF_1970 = 365 * _DAY


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A prepared dataset in figures. What None may be was not measured by the version that prepared it.

    Args:
        items: in the catalogue.
        users: in events and impressions.
        all_events: of all splits.
        events: of the training split.
        validation_events: of the validation split.
        event_users: users who have any of them.
        events_p99: the same at the 99th percentile.
        tells_time: whether times are more than places in an order.
        span_days: from the first event or impression to the last.
        requests: by split; empty without impressions.
        candidates: of a training request, on average; 0 without.
        positives: positive training labels of each task.
        unseen: share of what validation shows, or of its events, on items that training does not have.
        item_ages: in seconds: below the first an item is young, from the second on it is old.
        content_dim: length of content vectors; 0 without.
        contents: distinct content vectors.
        counters: live counters of a candidate.
        buckets: files that users are spread over.
    """

    items: int
    users: int
    all_events: int
    events: int
    event_users: int
    events_p99: float
    validation_events: int = 0
    tells_time: bool = True
    span_days: float = 0.0
    requests: Mapping[str, int] = field(default_factory=dict)
    candidates: float = 0.0
    positives: Mapping[str, int] | None = None
    unseen: float | None = None
    item_ages: tuple[int, int] = (7 * _DAY, 28 * _DAY)
    content_dim: int = 0
    contents: int | None = None
    counters: int = 0
    buckets: int = 16

    @classmethod
    def of(cls, info: DatasetInfo) -> "Facts":
        """The facts of a dataset, also of one that an older version prepared."""
        counts, profile = info.counts, info.profile
        events = counts.events_by_split.get("train", counts.events)
        users = counts.users if profile is None else profile.users
        mean = events / max(1, users)
        requests = counts.requests.get("train", 0)
        return cls(
            items=counts.items,
            users=counts.users,
            all_events=counts.events,
            events=events,
            validation_events=counts.events_by_split.get("validation", 0),
            event_users=users,
            # Logs are skewed, so a guess from the mean: eight times as many.
            events_p99=8 * mean if profile is None else profile.events_p99,
            tells_time=info.time_span[1] >= _END_OF_1970 if profile is None else profile.tells_time,
            span_days=(info.time_span[1] - info.time_span[0]) / _DAY,
            requests=counts.requests,
            candidates=counts.impressions["train"] / requests if requests else 0.0,
            positives=None if profile is None else profile.positives,
            unseen=None if profile is None else profile.unseen,
            item_ages=(info.age_thresholds.young, info.age_thresholds.old),
            content_dim=info.schema.content_dim,
            contents=None if profile is None else profile.contents,
            counters=len(info.schema.live_counts.names()) if info.schema.live_counts else 0,
            buckets=info.num_buckets,
        )

    @property
    def ranks(self) -> bool:
        """Whether there are requests to rank; else the next item is all that there is to learn."""
        return self.requests.get("train", 0) > 0

    @property
    def judges_next_items(self) -> bool:
        """Whether validation has events enough to tell one checkpoint from another."""
        return self.validation_events >= 100

    @property
    def judges_rankers(self) -> bool:
        """Whether validation has requests enough to tell, and, as far as training tells, positive labels among them."""
        requests = self.requests.get("validation", 0)
        share = requests / max(1, self.requests.get("train", 0))
        labels = self.positives is None or share * max(self.positives.values(), default=0) >= 20
        return requests >= 500 and labels

    @property
    def events_mean(self) -> float:
        """Training events of a user who has any."""
        return self.events / max(1, self.event_users)

    @property
    def longest(self) -> float:
        """Events of a user at the 99th percentile once the whole log has happened: histories go on after training."""
        return self.events_p99 * max(1.0, self.all_events / max(1, self.events))

    @property
    def lives_hours(self) -> bool:
        """Whether items grow old within a day of their birth."""
        return self.item_ages[1] <= _DAY

    def segments(self, length: int) -> int:
        """About how many pieces of so many events the training histories are cut into."""
        return max(self.event_users, round(self.events / length + self.event_users / 2))
