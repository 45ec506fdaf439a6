"""The user's own logs: Parquet or CSV tables of events, and perhaps of impressions and items."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import Feature
from pinfm.train.data.reading.files import table_files
from pinfm.train.data.tables import IDS, RawTables, SplitRule

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """What the columns are called in the files.

    Args:
        user_id: an integer or a text.
        timestamp: Unix seconds, UTC.
        action: a string.
        surface: a string.
        item_id: an integer or a text.
        request_id: an integer or a text; impressions only.
        created_at: Unix seconds, UTC; items only.
        content: a list of numbers; items only, where there is one.
    """

    user_id: str = "user_id"
    timestamp: str = "timestamp"
    action: str = "action"
    surface: str = "surface"
    item_id: str = "item_id"
    request_id: str = "request_id"
    created_at: str = "created_at"
    content: str = "content"


@dataclass(frozen=True, kw_only=True)
class Events:
    """Tables of one's own; each is a file, or a folder of files, ending in .parquet, .csv, .csv.gz, .tsv or .tsv.gz.

    Args:
        path: the events table: a file, or a folder of files.
        actions: every action name that may occur.
        positive_actions: those that count as interest; all of them by default.
        impressions: the impressions table; without it the dataset serves pretraining only.
        items: the items table; without it an item is as old as its first event.
        columns: what the columns are called in the files.
        tasks: boolean columns of impressions, one probability each.
        dense_features: numeric columns of impressions.
        categorical_features: integer columns of impressions, 0 meaning missing.
        request_features: those of the features that all impressions of a request share.
        item_attributes: integer columns of items, joined to each candidate.
        text_ids: those of user_id, item_id and request_id that are text even where most of them look like integers.
        validation_start: first day of validation, YYYY-MM-DD in UTC; by default 80 % of the rows lie before it.
        test_start: first day of test, YYYY-MM-DD in UTC; by default 90 % of the rows lie before it.
    """

    name: ClassVar[str] = "events"

    path: Path
    actions: list[str]
    positive_actions: list[str] | None = None
    impressions: Path | None = None
    items: Path | None = None
    columns: ColumnNames = field(default_factory=ColumnNames)
    tasks: list[str] = field(default_factory=list)
    dense_features: list[str] = field(default_factory=list)
    categorical_features: list[str] = field(default_factory=list)
    request_features: list[str] = field(default_factory=list)
    item_attributes: list[str] = field(default_factory=list)
    text_ids: list[str] = field(default_factory=list)
    validation_start: str | None = None
    test_start: str | None = None

    def __post_init__(self) -> None:
        known = [*self.dense_features, *self.categorical_features]
        _need_subset("positive_actions", self.positive_actions or [], "actions", self.actions)
        _need_subset("request_features", self.request_features, "dense_features or categorical_features", known)
        _need_subset("text_ids", self.text_ids, "the columns of ids", IDS)
        if self.positive_actions == []:
            raise UserError("positive_actions is empty; name the actions that count as interest, or leave it out")
        for field_name, names in (("actions", self.actions), ("positive_actions", self.positive_actions or [])):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise UserError(f"{field_name} names {twice[0]!r} twice; name each action once")
        if not self.actions:
            raise UserError("actions is empty; name every action of the log, as in --actions '[click, save]'")
        if self.impressions is not None and not self.tasks:
            raise UserError("--impressions needs tasks; name its boolean columns, as in --tasks '[click]'")
        if self.impressions is None and (self.tasks or known):
            raise UserError("tasks and features are columns of impressions; give that table with --impressions")
        if self.items is None and self.item_attributes:
            raise UserError("item_attributes are columns of items; give that table with --items")
        reserved = {*asdict(self.columns), "event_count"}
        taken = [*self.tasks, *known, *self.item_attributes]
        for name in taken:
            if name in reserved or name.startswith("__") or taken.count(name) > 1:
                raise UserError(f"the column {name} is named for two purposes, or has a reserved name; rename it")
        self._splits()

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        for path in (self.path, self.impressions, self.items):
            if path is not None:
                table_files(path)

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        validator.read("own_events", self.path)
        if self.impressions is not None:
            validator.read("own_impressions", self.impressions)
        has_content = False
        if self.items is not None:
            validator.read("own_items", self.items)
            described = validator.connection.execute("DESCRIBE own_items").fetchall()
            has_content = self.columns.content in {row[0] for row in described}
            if not has_content and self.columns.content != ColumnNames().content:
                raise UserError(f"{self.items} has no column {self.columns.content}; correct --columns.content")
        actions = tuple(self.actions)
        return RawTables(
            events="own_events",
            items=None if self.items is None else "own_items",
            impressions=None if self.impressions is None else "own_impressions",
            actions=actions,
            positive_actions=actions if self.positive_actions is None else tuple(self.positive_actions),
            tasks=tuple(self.tasks),
            features=self._features(),
            item_attributes=tuple(self.item_attributes),
            has_content=has_content,
            splits=self._splits(),
            raw_names=asdict(self.columns),
            text_ids=tuple(self.text_ids),
        )

    def _splits(self) -> SplitRule:
        return SplitRule.from_dates(self.validation_start, self.test_start)

    def _features(self) -> tuple[Feature, ...]:
        dense = [Feature(name=n, kind="dense", scope=self._scope(n)) for n in self.dense_features]
        codes = [Feature(name=n, kind="categorical", scope=self._scope(n)) for n in self.categorical_features]
        return (*dense, *codes)

    def _scope(self, feature: str) -> Literal["request", "candidate"]:
        return "request" if feature in self.request_features else "candidate"


def _need_subset(field: str, names: Sequence[str], of: str, known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(
                f"{field} names {name}, which is not among {of} ({', '.join(known) or 'none'}); add it there"
            )
