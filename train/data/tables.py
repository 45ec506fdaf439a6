"""The three raw tables that every source yields, and the columns that validation knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pinfm.model.schema import Feature

from pinfm.train.data.columns import Column
from pinfm.train.data.validate import Validator


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Where the splits begin, in Unix seconds.

    Args:
        validation_start: first second of validation; None puts 80 % of the impressions before it.
        test_start: first second of test; None puts 90 % of the impressions before it.
    """

    validation_start: int | None = None
    test_start: int | None = None


@dataclass(frozen=True, kw_only=True)
class RawTables:
    """What a source hands to `prepare`: names of DuckDB relations, and what their columns mean.

    Each relation also has `__file`, `__row` and `__position` (order of equal timestamps).

    Args:
        events: relation with user_id, timestamp, action, surface, item_id.
        items: relation with item_id, created_at (NULL: take the first time it was seen), content if
            `has_content`, and `item_attributes`.
        impressions: relation with request_id, user_id, timestamp, surface, item_id, tasks and features; None
            when the data serves pretraining only.
        actions: the vocabulary of `action`.
        positive_actions: those that count as interest.
        tasks: boolean columns of impressions.
        features: feature columns of impressions; statistics are filled in later.
        item_attributes: categorical columns of items, joined to each candidate.
        has_content: whether items carry a content vector.
        splits: where the splits begin.
        notes: sentences for the reader of the dataset.
        counts: what the source counted.
    """

    events: str
    items: str
    impressions: str | None
    actions: tuple[str, ...]
    positive_actions: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    item_attributes: tuple[str, ...] = ()
    has_content: bool = False
    splits: SplitRule = SplitRule()
    notes: tuple[str, ...] = ()
    counts: dict[str, int] | None = None


class Source(Protocol):
    """A kind of raw data that `pinfm prepare` reads."""

    @property
    def name(self) -> str:
        """Name of the source in `dataset.json`."""

    def load(self, validator: Validator, work: Path) -> RawTables:
        """Reads and checks the source's files.

        Args:
            validator: stages and checks tables in its database.
            work: a folder for temporary files.
        """


def events_columns(tables: RawTables) -> tuple[Column, ...]:
    """Returns the columns of the events table."""
    return (
        Column("user_id", "id"),
        Column("timestamp", "time"),
        Column("action", "choice", choices=tables.actions),
        Column("surface", "text"),
        Column("item_id", "id"),
    )


def impressions_columns(tables: RawTables) -> tuple[Column, ...]:
    """Returns the columns of the impressions table."""
    kinds: dict[str, Literal["dense", "code"]] = {"dense": "dense", "categorical": "code"}
    return (
        Column("request_id", "id"),
        Column("user_id", "id"),
        Column("timestamp", "time"),
        Column("surface", "text"),
        Column("item_id", "id"),
        *(Column(task, "flag") for task in tables.tasks),
        *(Column(feature.name, kinds[feature.kind]) for feature in tables.features),
    )


def items_columns(tables: RawTables) -> tuple[Column, ...]:
    """Returns the columns of the items table."""
    return (
        Column("item_id", "id"),
        Column("created_at", "time", nullable=True),
        *((Column("content", "vector"),) if tables.has_content else ()),
        *(Column(attribute, "code") for attribute in tables.item_attributes),
    )
