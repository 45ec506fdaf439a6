"""`dataset.json`: what a prepared dataset says about itself."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_types
from pinfm.model.item_ages import PAPER, AgeThresholds, age_thresholds
from pinfm.model.schema import InputSchema, schema_from_json
from pinfm.train.data.profile.profile import Profile

FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many rows a dataset holds, and what became of those that it does not hold.

    Args:
        events: rows of all `events/` files.
        users: distinct users over events and impressions.
        items: rows of `items.parquet`.
        requests: rows of the `impressions/` files, by split.
        impressions: candidates of those requests, by split.
        events_by_split: rows of the `events/` files, by split; those before the first request count as training.
        outside_splits: impressions of requests that no split covers; they are in no file.
        rejected: rows dropped by `--on-bad-rows skip`, by `table.column.reason`.
        source: what the source counted while it read its own files.
    """

    events: int
    users: int
    items: int
    requests: dict[str, int]
    impressions: dict[str, int]
    events_by_split: dict[str, int] = field(default_factory=dict)
    outside_splits: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    source: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_types("counts", self)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """The contents of `dataset.json`.

    Args:
        source: name of the source, such as `kuairand`.
        pinfm_version: version of the package that wrote the dataset.
        counts: rows kept, outside and rejected.
        time_span: Unix seconds of the first and of the last event or impression.
        schema: vocabularies, tasks and features, with the statistics of the training split.
        splits: `train`, `validation`, `test` -> (start, end) in Unix seconds, the end excluded; empty where
            `split_last` says what is held out.
        num_buckets: number of files of `events/`, and of each folder of `impressions/`.
        max_history: most events in a request's history, unless the reader asks for fewer.
        split_last: of each user the newest so many positive events, and requests, are test, and as many before them
            validation; None where the splits are by time. Events then have a column `split`: a place in `SPLITS`.
        candidates: `shown` to the user, or `sampled`: put together by `prepare` from what was chosen.
        notes: what the source wants its readers to know.
        item_age_thresholds: two ages, such as `1h` and `4h`: an item is young below the first, old from the second on.
        profile: what kind of log it is; None in a dataset of before, which did not say.
        format_version: version of the layout on disk.
    """

    source: str
    pinfm_version: str
    counts: Counts
    time_span: tuple[int, int]
    schema: InputSchema
    splits: dict[str, tuple[int, int]]
    num_buckets: int
    max_history: int = 256
    split_last: int | None = None
    candidates: Literal["shown", "sampled"] = "shown"
    notes: tuple[str, ...] = ()
    # What a dataset of before did not say.
    item_age_thresholds: tuple[str, ...] = PAPER
    profile: Profile | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        require_types("", self)
        last = {} if self.split_last is None else {"split_last": self.split_last}
        require_at_least("", 1, num_buckets=self.num_buckets, max_history=self.max_history, **last)
        age_thresholds("item_age_thresholds", self.item_age_thresholds)
        bounds = [moment for span in (self.time_span, *self.splits.values()) for moment in span]
        named = set(SPLITS) if self.split_last is None else set()
        if set(self.splits) != named or not all(type(moment) is int for moment in bounds):
            raise UserError(
                f"splits and time_span must hold whole seconds, the splits for {', '.join(SPLITS)}, or for none "
                "of them beside split_last."
            )

    @property
    def train_end(self) -> int:
        """Unix seconds; no row of training is of this time or later."""
        return self.time_span[1] + 1 if self.split_last is not None else self.splits["train"][1]

    @property
    def age_thresholds(self) -> AgeThresholds:
        """What tells young, middle-aged and old items apart."""
        return age_thresholds("item_age_thresholds", self.item_age_thresholds)

    def to_json(self) -> str:
        """Returns the text of `dataset.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "DatasetInfo":
        """Reads the description of a prepared dataset.

        Raises:
            UserError: when the folder is no prepared dataset, or one of another format version.
        """
        description = folder / "dataset.json"
        if not description.is_file():
            raise UserError(f"{folder} is no prepared dataset (it has no dataset.json); make one with `pinfm prepare`")
        try:
            return cls.from_json(description.read_text(errors="replace"))
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> "DatasetInfo":
        """Parses `dataset.json`.

        Raises:
            UserError: when the text is not a dataset description of this format version.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            version = fields["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError("dataset.json describes no prepared dataset; run `pinfm prepare` again") from error
        if version != FORMAT_VERSION:
            raise UserError(
                f"dataset.json has format version {version}, this pinfm reads {FORMAT_VERSION}; "
                "run `pinfm prepare` again with this version"
            )
        try:
            return cls._from_fields(fields)
        except UserError as error:
            raise UserError(f"dataset.json: {error}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError("dataset.json lacks a part; run `pinfm prepare` again") from error

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> "DatasetInfo":
        start, end = fields.pop("time_span")
        profile = fields.pop("profile", None)
        return cls(
            counts=Counts(**fields.pop("counts")),
            time_span=(start, end),
            schema=schema_from_json(fields.pop("schema")),
            splits={name: (bounds[0], bounds[1]) for name, bounds in fields.pop("splits").items()},
            notes=tuple(fields.pop("notes")),
            item_age_thresholds=tuple(fields.pop("item_age_thresholds", PAPER)),
            profile=None if profile is None else Profile(**profile),
            **fields,
        )
