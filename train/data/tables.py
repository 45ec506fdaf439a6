"""The three raw tables that every source yields, and the columns that validation knows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from pinfm.model.schema import Feature
from pinfm.train.data.reading.columns import TEXT_OF, Column, IdColumn, Kind, TimeColumn, VectorColumn
from pinfm.train.data.reading.times import TimeUnit
from pinfm.train.data.sampling.rule import CandidateRule
from pinfm.train.data.splits.rule import SplitRule

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator

# Columns of ids; one name is one space of ids, in whatever tables it stands.
IDS = ("user_id", "item_id", "request_id")


@dataclass(frozen=True, kw_only=True)
class RawTables:
    """What a source hands to `prepare`: names of DuckDB relations, and what their columns mean.

    Each relation also has `__file`, `__row` and `__position` (order of equal timestamps).

    Args:
        events: relation with user_id, timestamp, action, surface, item_id.
        items: relation with item_id, created_at (NULL: take the first time it was seen), content if
            `has_content`, and `item_attributes`; None takes the items that occur.
        impressions: relation with request_id, user_id, timestamp, surface, item_id, tasks and features; None
            when the data serves pretraining only.
        actions: the vocabulary of `action`.
        positive_actions: those that count as interest.
        tasks: boolean columns of impressions.
        features: feature columns of impressions; statistics are filled in later.
        item_attributes: categorical columns of items, joined to each candidate.
        has_content: whether items carry a content vector.
        content_dim: its length; None takes that of most vectors.
        time_unit: what times count that are numbers; None takes seconds, and doubts what looks like something else.
        sampling: how candidates are drawn beside events of the actions that `tasks` name, in place of impressions.
        were_shown: whether impressions were shown to their users; else we drew them.
        has_times: whether the times are times, and not places in an order.
        has_own_requests: whether request ids are the user's: they may be sessions that last for days.
        request_gap_minutes: a pause this long within a request starts a new one; None for none.
        splits: where the splits begin.
        notes: sentences for the reader of the dataset.
        counts: what the source counted.
        raw_names: names of columns in the relations, where they differ from the above.
        text_ids: ids that are text even where most of them look like integers.
        kinds: of ids and names, where they are not plain; see `spellings.spelled`.
    """

    events: str
    items: str | None
    impressions: str | None
    actions: tuple[str, ...]
    positive_actions: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    item_attributes: tuple[str, ...] = ()
    has_content: bool = False
    content_dim: int | None = None
    time_unit: TimeUnit | None = None
    sampling: CandidateRule | None = None
    were_shown: bool = True
    has_times: bool = True
    has_own_requests: bool = False
    request_gap_minutes: float | None = None
    splits: SplitRule = field(default_factory=SplitRule)
    notes: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    raw_names: dict[str, str] = field(default_factory=dict)
    text_ids: tuple[str, ...] = ()
    kinds: dict[str, Kind] = field(default_factory=dict)

    @property
    def has_requests(self) -> bool:
        """Whether there are impressions to train on and to judge by, the log's or drawn ones."""
        return self.impressions is not None or self.sampling is not None

    def raw_name(self, name: str) -> str:
        """What the relations call a column."""
        return self.raw_names.get(name, name)

    def column(self, name: str, kind: Kind, choices: tuple[str, ...] = (), nullable: bool = False) -> Column:
        """Returns a column under the name that the relations give it, of the kind that its values have."""
        kind = self.kinds.get(name, kind)
        if kind == "id":
            # What was decided by the log might have been decided otherwise.
            return IdColumn(name, kind, raw=self.raw_names.get(name), nullable=nullable, may_be_text=name in self.kinds)
        return Column(name, kind, raw=self.raw_names.get(name), choices=choices, nullable=nullable)

    def time(self, name: str, created: bool = False) -> TimeColumn:
        """Returns a column of times; of the creation of items, if `created`, which may be unknown or before 1970."""
        raw = self.raw_names.get(name)
        return TimeColumn(name, "time", raw=raw, nullable=created, unit=self.time_unit, before_1970=created)

    def texts(self, *names: str) -> tuple[Column, ...]:
        """Returns the columns that hold the text of those ids that are text."""
        texts = [name for name in names if self.kinds.get(name) == "text_id"]
        return tuple(Column(TEXT_OF + name, "text_of_id", raw=self.raw_name(name)) for name in texts)

    def spelt(self, *names: str) -> list[str]:
        """Returns the columns with the text of those ids that are text, else their own: for messages about rows."""
        return [TEXT_OF + name if self.kinds.get(name) == "text_id" else name for name in names]


class Source(Protocol):
    """A kind of raw data that `pinfm prepare` reads: a frozen dataclass, listed in `train/cli/prepare.py`.

    Its fields are the flags of `pinfm prepare NAME`, and its docstring their help.

    Attributes:
        name: of the source on the command line and in `dataset.json`.
    """

    name: ClassVar[str]

    def require_inputs(self) -> None:
        """Looks for the source's files, before anything is read or written.

        Raises:
            UserError: one is missing.
        """

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """Reads and checks the source's files.

        Args:
            validator: stages and checks tables in its database.
            work: a folder for temporary files.
        """


def events_columns(tables: RawTables) -> tuple[Column, ...]:
    """Returns the columns of the events table."""
    return (
        tables.column("user_id", "id"),
        tables.time("timestamp"),
        tables.column("action", "choice", choices=tables.actions),
        tables.column("surface", "text"),
        tables.column("item_id", "id"),
        *tables.texts("user_id", "item_id"),
    )


def impressions_columns(tables: RawTables) -> tuple[Column, ...]:
    """Returns the columns of the impressions table."""
    kinds: dict[str, Literal["dense", "code"]] = {"dense": "dense", "categorical": "code"}
    return (
        tables.column("request_id", "id"),
        tables.column("user_id", "id"),
        tables.time("timestamp"),
        tables.column("surface", "text"),
        tables.column("item_id", "id"),
        *tables.texts(*IDS),
        *(tables.column(task, "flag") for task in tables.tasks),
        *(tables.column(feature.name, kinds[feature.kind]) for feature in tables.features),
    )


def items_columns(tables: RawTables) -> tuple[Column, ...]:
    """Returns the columns of the items table."""
    return (
        tables.column("item_id", "id"),
        *tables.texts("item_id"),
        tables.time("created_at", created=True),
        *((_content(tables),) if tables.has_content else ()),
        *(tables.column(attribute, "code") for attribute in tables.item_attributes),
    )


def _content(tables: RawTables) -> VectorColumn:
    return VectorColumn("content", "vector", raw=tables.raw_name("content"), length=tables.content_dim)
