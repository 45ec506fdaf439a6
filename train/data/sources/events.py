"""The user's own logs: Parquet or CSV tables of events, and perhaps of impressions and items."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import Feature
from pinfm.train.data.reading.files import table_parts
from pinfm.train.data.reading.sql import FILE, POSITION, ROW, quoted
from pinfm.train.data.reading.sql import name as sql_name
from pinfm.train.data.reading.times import TimeUnit
from pinfm.train.data.sampling.rule import SamplingFlags
from pinfm.train.data.sources.text_files import TextFiles
from pinfm.train.data.splits.rule import SplitFlags
from pinfm.train.data.tables import IDS, RawTables

if TYPE_CHECKING:
    from pinfm.train.data.reading.readers import Table
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
class Events(TextFiles, SplitFlags, SamplingFlags):
    """Tables of one's own; each is a file, or a folder of files: .parquet, .csv, .tsv, or the latter with .gz or .zst.

    Args:
        path: the events table: a file, or a folder of files.
        actions: every action name that may occur.
        action: the action of every event, in place of --actions where the log has one kind and no such column.
        positive_actions: those that count as interest; all of them by default.
        impressions: the impressions table; without it, and without --sampled-candidates, the dataset serves pretraining
            only.
        items: the items table; without it an item is as old as its first event.
        columns: what the columns are called in the files.
        tasks: boolean columns of impressions, one probability each; of sampled candidates, actions.
        dense_features: numeric columns of impressions.
        categorical_features: integer columns of impressions, 0 meaning missing.
        request_features: those of the features that all impressions of a request share.
        item_attributes: integer columns of items, joined to each candidate.
        text_ids: those of user_id, item_id and request_id that are text even where most of them look like integers.
        content_dim: numbers of a content vector; by default those of most vectors.
        time_unit: what times count that are numbers: seconds by default; date for YYYYMMDD and YYYYMMDDhhmmss; a typed
            timestamp and ISO text need none.
        order_only: for a log without times: `file` if its rows are in the order of time, `user` if only those of each
            user are. The times are then numbers of rows, and mean nothing else.
        request_gap_minutes: a pause this long within a request_id, which may be a session's, starts a new request.
    """

    name: ClassVar[str] = "events"

    path: Path
    actions: list[str] = field(default_factory=list)
    action: str | None = None
    positive_actions: list[str] | None = None
    impressions: Path | None = None
    items: Path | None = None
    columns: ColumnNames = field(default_factory=ColumnNames)
    tasks: list[str] = field(default_factory=list)
    dense_features: list[str] = field(default_factory=list)
    categorical_features: list[str] = field(default_factory=list)
    request_features: list[str] = field(default_factory=list)
    item_attributes: list[str] = field(default_factory=list)
    content_dim: int | None = None
    time_unit: TimeUnit | None = None
    order_only: Literal["file", "user"] | None = None
    request_gap_minutes: float | None = None
    text_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        known = [*self.dense_features, *self.categorical_features]
        self._require_actions()
        _need_subset("request_features", self.request_features, "dense_features or categorical_features", known)
        _need_subset("text_ids", self.text_ids, "the columns of ids", IDS)
        if self.impressions is not None and not self.tasks:
            raise UserError("--impressions needs tasks; name its boolean columns, as in --tasks '[click]'")
        if self.impressions is None and ((self.tasks and self.sampled_candidates is None) or known):
            raise UserError(
                "tasks and features are columns of impressions; give that table with --impressions, or tasks with "
                "--sampled-candidates"
            )
        self._require_sampling()
        if self.items is None and self.item_attributes:
            raise UserError("item_attributes are columns of items; give that table with --items")
        if self.content_dim is not None and self.content_dim < 1:
            raise UserError(
                f"content_dim ({self.content_dim}) must be at least 1; leave it out for that of most vectors"
            )
        if self.order_only and (self.impressions or self.time_unit or self.validation_start or self.test_start):
            raise UserError("order_only leaves no times, so it goes without impressions, time_unit and days of splits")
        if self.request_gap_minutes is not None and not 0 < self.request_gap_minutes < 1e9:
            raise UserError(f"request_gap_minutes ({self.request_gap_minutes}) must be above 0, such as 30")
        if self.request_gap_minutes is not None and self.impressions is None:
            raise UserError("request_gap_minutes splits impressions; give that table with --impressions")
        self._require_names([*self._tasks(), *known, *self.item_attributes])
        self.split_rule()

    def _require_sampling(self) -> None:
        if self.candidate_rule() is None:
            return
        if self.impressions is not None:
            raise UserError(
                "sampled_candidates makes requests for a log without impressions, but --impressions is given; leave "
                "one of them out"
            )
        if self.order_only == "user" or (self.order_only and self.sampled_candidates == "recent"):
            raise UserError(
                f"order_only {self.order_only} tells no time to draw {self.sampled_candidates} candidates before; give "
                "--order-only file, if all rows are in order, and another kind than recent"
            )
        _need_subset("tasks", self.tasks, "actions", self._all_actions)

    def _require_actions(self) -> None:
        if self.action is not None and self.actions:
            raise UserError("--action and --actions are both given; name either the one action or all of them")
        if not self._all_actions:
            raise UserError("actions is empty; name every action of the log, as in --actions '[click, save]'")
        _need_subset("positive_actions", self.positive_actions or [], "actions", self._all_actions)
        if self.positive_actions == []:
            raise UserError("positive_actions is empty; name the actions that count as interest, or leave it out")
        for field_name, names in (("actions", self.actions), ("positive_actions", self.positive_actions or [])):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise UserError(f"{field_name} names {twice[0]!r} twice; name each action once")

    def _require_names(self, taken: Sequence[str]) -> None:
        raws = list(asdict(self.columns).values())
        reserved = {name.lower() for name in (*asdict(self.columns), "event_count")}
        lowered = [name.lower() for name in taken]
        for name in taken:
            if name.lower() in reserved or name.startswith("__") or lowered.count(name.lower()) > 1:
                raise UserError(f"the column {name} is named for two purposes, or has a reserved name; rename it")
        for name in raws:
            like = next((other for other in (*raws, *taken) if other != name and other.lower() == name.lower()), None)
            if name.lower() in (FILE, ROW, POSITION) or like is not None:
                other = f"differs from {like} by case alone" if like else "is what prepare calls a column of its own"
                raise UserError(f"the column {name} {other}; rename it in the file")

    @property
    def _all_actions(self) -> list[str]:
        return self.actions if self.action is None else [self.action]

    def _tasks(self) -> tuple[str, ...]:
        """Columns of impressions, or the actions that are answers among sampled candidates."""
        if self.sampled_candidates is None or self.tasks:
            return tuple(self.tasks)
        return tuple(self._all_actions if self.positive_actions is None else self.positive_actions)

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        for path in (self.path, self.impressions, self.items):
            if path is not None:
                table_parts(path)

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        self._read_events(validator)
        if self.impressions is not None:
            self._read_impressions(validator)
        has_content = self.items is not None and self._read_items(validator)
        actions = tuple(self._all_actions)
        return RawTables(
            events="own_events",
            items=None if self.items is None else "own_items",
            impressions=None if self.impressions is None else "own_impressions",
            actions=actions,
            positive_actions=actions if self.positive_actions is None else tuple(self.positive_actions),
            tasks=self._tasks(),
            sampling=self.candidate_rule(),
            were_shown=self.sampled_candidates is None,
            features=self._features(),
            item_attributes=tuple(self.item_attributes),
            has_content=has_content,
            content_dim=self.content_dim,
            time_unit="seconds" if self.order_only else self.time_unit,
            has_times=self.order_only is None,
            has_own_requests=self.impressions is not None,
            request_gap_minutes=self.request_gap_minutes,
            splits=self.split_rule(),
            raw_names=asdict(self.columns),
            text_ids=tuple(self.text_ids),
        )

    def _read_events(self, validator: "Validator") -> None:
        names = self.columns
        wanted = [names.user_id, names.surface, names.item_id]
        wanted += [] if self.order_only else [names.timestamp]
        wanted += [names.action] if self.action is None else []
        table = validator.read("own_events", self.path, self.layout(self.column_names), wanted)
        self._require_header(table, self.column_names)
        self._require_told(table)
        absent = self._absent_surface(validator, table)
        if self.action is not None:
            absent[names.action] = quoted(self.action)
        if self.order_only:
            absent[names.timestamp] = self._place(table)
            validator.notes.append(
                "The log has an order and no times: gaps between events and ages of items mean nothing."
            )
        validator.fill("own_events", absent)

    def _require_told(self, table: "Table") -> None:
        """Names the flags for a log that has users and items, and no times or no actions."""
        names = self.columns
        if not {names.user_id, names.item_id} <= set(table.columns):
            return
        have = ", ".join(table.columns)
        if not self.order_only and names.timestamp not in table.columns:
            raise UserError(
                f"{table.path} has no column {names.timestamp}; it has {have}: name the one with times by "
                "--columns.timestamp, or give --order-only file or --order-only user if the rows are in order"
            )
        if self.action is None and names.action not in table.columns:
            raise UserError(
                f"{table.path} has no column {names.action}; it has {have}: name the one with actions by "
                f"--columns.action, or give --action {self._all_actions[0]} if all events are of one kind"
            )

    def _place(self, table: "Table") -> str:
        """SQL of a time from the order of rows, one second apart; by users, those of all users end together."""
        if self.order_only == "file":
            return f"row_number() OVER (ORDER BY {POSITION}) - 1"
        user = f"PARTITION BY {sql_name(self.columns.user_id)}"
        return f"{table.rows} - count(*) OVER ({user}) + row_number() OVER ({user} ORDER BY {POSITION}) - 1"

    def _read_impressions(self, validator: "Validator") -> None:
        assert self.impressions is not None
        names = self.columns
        wanted = [names.request_id, names.user_id, names.timestamp, names.surface, names.item_id, *self.tasks]
        wanted += [*self.dense_features, *self.categorical_features]
        layout = self.layout(self.impressions_column_names)
        table = validator.read("own_impressions", self.impressions, layout, wanted)
        self._require_header(table, self.impressions_column_names)
        validator.fill("own_impressions", self._absent_surface(validator, table))

    def _read_items(self, validator: "Validator") -> bool:
        """Reads the items; returns whether they have content."""
        assert self.items is not None
        names = self.columns
        wanted = [names.item_id, names.content, *self.item_attributes]
        # A time of creation is of no use beside an order.
        wanted += [] if self.order_only else [names.created_at]
        table = validator.read("own_items", self.items, self.layout(self.items_column_names), wanted)
        self._require_header(table, self.items_column_names)
        if self.order_only:
            validator.fill("own_items", {names.created_at: "NULL::BIGINT"})
        elif names.created_at == ColumnNames().created_at and names.created_at not in table.columns:
            validator.notes.append(f"{self.items} has no column created_at: an item is as old as its first event.")
            validator.fill("own_items", {names.created_at: "NULL::BIGINT"})
        has_content = names.content in table.columns
        if not has_content and names.content != ColumnNames().content:
            raise UserError(f"{self.items} has no column {names.content}; correct --columns.content")
        return has_content

    def _absent_surface(self, validator: "Validator", table: "Table") -> dict[str, str]:
        """The SQL of a surface that nobody knows, where the files have none and no flag says that they should."""
        if self.columns.surface in table.columns or self.columns.surface != ColumnNames().surface:
            return {}
        validator.notes.append(f"{table.path} has no column surface: all of its surfaces are unknown (0).")
        return {self.columns.surface: "NULL::VARCHAR"}

    def _require_header(self, table: "Table", names: Sequence[str]) -> None:
        """A file without a header would lose its first row to the names of its columns."""
        used = (self.columns.user_id, self.columns.timestamp, self.columns.item_id, self.columns.request_id)
        if names or table.is_parquet:
            return
        for column in table.columns:
            if column in used and re.fullmatch(r"[+-]?[0-9]+", column):
                raise UserError(
                    f"{table.path}: the column {column} is called like a value, so its first line is no header; name "
                    "all columns with --column-names"
                )

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
