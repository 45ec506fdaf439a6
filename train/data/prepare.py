"""Raw data -> a prepared dataset: stage and check, split, measure, write, describe."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.new_folder import new_folder
from pinfm.model.item_ages import age_thresholds
from pinfm.model.schema import VOCABULARIES, Feature, InputSchema
from pinfm.train.data.features import (
    find_surfaces,
    requests_on_several_surfaces,
    surface_feature,
    with_statistics,
)
from pinfm.train.data.id_texts import id_types, write_id_texts
from pinfm.train.data.info import SPLITS, Counts, DatasetInfo
from pinfm.train.data.item_ages import find_age_thresholds
from pinfm.train.data.live.spec import live_counts_spec, require_countable
from pinfm.train.data.live.write import LiveCountsWriter
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.profile.measure import measure_profile
from pinfm.train.data.reading.readers import connect
from pinfm.train.data.reading.sql import name
from pinfm.train.data.reading.validate import Validator
from pinfm.train.data.request_cuts import cut_at, require_short, split_at_pauses, write_starts
from pinfm.train.data.sampling.own_events import sample_impressions, sampling_notes
from pinfm.train.data.sampling.rule import CandidateRule
from pinfm.train.data.spellings import NUMBERED, spelled
from pinfm.train.data.splits.by_place import few_notes, mark_by_place
from pinfm.train.data.splits.by_time import find_splits
from pinfm.train.data.splits.marked import SPLIT, Bounds, Splits, mark_by_time
from pinfm.train.data.tables import RawTables, Source, events_columns, impressions_columns, items_columns
from pinfm.train.data.write import BucketWriter, gather_items, joined_impressions

_ROWS_PER_BUCKET = 4_000_000
_END_OF_1970 = 365 * 86400


def prepare(source: Source, out: Path, options: PrepareOptions) -> dict[str, Any]:
    """Writes a prepared dataset.

    Args:
        source: what to read.
        out: the folder to create.
        options: what holds for every source.

    Returns:
        The report: `source`, `out`, `counts`, `splits`, `split_last`, `candidates`, `time_span`, `num_buckets`,
        `item_age_thresholds`, `notes`, `ids`, `numbered`, `live_counts` and `seconds`.

    Raises:
        UserError: for a mistake in the data or in the flags; `out` is then not created.
    """
    began = time.monotonic()
    with new_folder(out) as folder:
        work = folder / "work"
        work.mkdir()
        with connect(work, options.memory_gib) as connection:
            try:
                info = _Preparation(connection, source, options, work).write(folder)
            except duckdb.OutOfMemoryException as error:
                raise UserError(f"{options.memory_gib} GiB do not suffice; give more with --memory-gib") from error
        for leftover in sorted(work.rglob("*"), reverse=True):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        work.rmdir()
        (folder / "dataset.json").write_text(info.to_json())
    described = _plain(info)
    keys = (
        *("source", "counts", "splits", "split_last", "candidates", "time_span", "num_buckets"),
        *("item_age_thresholds", "notes"),
    )
    of_schema = {key: described["schema"][key] for key in ("ids", "numbered", "live_counts")}
    seconds = round(time.monotonic() - began, 3)
    return {"out": str(out), **{key: described[key] for key in keys}, **of_schema, "seconds": seconds}


class _Preparation:
    """The steps of `prepare` over one database."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, source: Source, options: PrepareOptions, work: Path):
        self.connection = connection
        self.source = source
        self.options = options
        self.validator = Validator(connection, work, options.on_bad_rows)
        self.counts: dict[str, int] = {}

    def write(self, folder: Path) -> DatasetInfo:
        """Runs the steps in order and returns what goes to `dataset.json`."""
        tables = spelled(self.validator, self.source.load(self.validator, self.validator.work))
        require_countable(self.options, tables)
        self._stage(tables)
        splits = self._mark_splits(tables)
        write_id_texts(self.connection, tables, folder)
        schema = self._schema(tables)
        gather_items(self.connection, schema, tables.item_attributes, splits)
        schema = self._with_features(tables, schema)
        largest = max(self._count("events"), self._count("impressions") if tables.has_requests else 0)
        num_buckets = self.options.num_buckets or max(16, -(-largest // _ROWS_PER_BUCKET))
        BucketWriter(self.connection, folder, schema, splits, num_buckets).write(tables.item_attributes)
        if self.options.live_counts:
            spec = live_counts_spec(self.connection, self.options, tables, splits)
            counters = LiveCountsWriter(self.connection, folder, self.validator.work, spec).write()
            schema = dataclasses.replace(schema, features=(*schema.features, *counters), live_counts=spec)
        self.validator.write_rejects(folder / "rejects.parquet")
        ages = self._item_ages(tables)
        return DatasetInfo(
            source=self.source.name,
            pinfm_version=version("pinfm"),
            counts=self._counts(tables),
            time_span=self._time_span(),
            schema=schema,
            splits=splits.bounds,
            split_last=splits.last,
            candidates="shown" if tables.were_shown else "sampled",
            num_buckets=num_buckets,
            max_history=self.options.max_history,
            notes=(*tables.notes, *self.validator.notes, *self._notes_on_time(tables)),
            item_age_thresholds=ages,
            profile=measure_profile(self.connection, tables, age_thresholds("item_age_thresholds", ages)),
        )

    def _stage(self, tables: RawTables) -> None:
        self.validator.stage("events", tables.events, events_columns(tables))
        if tables.items is None:
            self.connection.execute("CREATE TABLE items (item_id BIGINT, created_at BIGINT)")
        else:
            known = ("created_at", *(("content",) if tables.has_content else ()), *tables.item_attributes)
            unique = tables.spelt("item_id")
            self.validator.stage("items", tables.items, items_columns(tables), unique=unique, spare=known)
        if tables.sampling is not None:
            self._sample(tables.sampling, tables.tasks)
        if tables.impressions is None:
            return
        shared = [feature.name for feature in tables.features if feature.scope == "request"]
        gap = tables.request_gap_minutes
        self.validator.stage(
            "impressions",
            tables.impressions,
            impressions_columns(tables),
            # Of a text id the parts of a request share the text.
            unique=("request_id", *tables.spelt("item_id")) if gap else tables.spelt("request_id", "item_id"),
            constant_within=("request_id", [*tables.spelt("user_id"), *shared]),
            regroup=None if gap is None else lambda: self._split_requests(gap),
        )
        write_starts(self.connection)
        if tables.has_own_requests and gap is None:
            require_short(self.connection, name(tables.spelt("request_id")[0]))

    def _sample(self, rule: CandidateRule, tasks: Sequence[str]) -> None:
        counts = sample_impressions(self.connection, rule, tasks)
        self.counts |= counts
        self.validator.notes += sampling_notes(counts)
        write_starts(self.connection)

    def _split_requests(self, gap_minutes: float) -> None:
        added = split_at_pauses(self.connection, max(1, round(60 * gap_minutes)))
        self.counts["requests_split_at_pauses"] = added
        self.validator.notes.append(f"{added:,} requests begin after a pause of {gap_minutes:g} minutes within one.")

    def _mark_splits(self, tables: RawTables) -> Splits:
        has_requests, last = tables.has_requests, tables.splits.last
        if last is None:
            return mark_by_time(self.connection, self._cut_requests(tables, self._bounds(tables)), has_requests)
        splits, few = mark_by_place(self.connection, last, tables.positive_actions, has_requests)
        self.counts |= few
        self.validator.notes += few_notes(few, last)
        return splits

    def _cut_requests(self, tables: RawTables, splits: Bounds) -> Bounds:
        """A request belongs to the split that it starts in, so none may reach over the start of another."""
        if not tables.has_requests or not tables.has_own_requests:
            return splits
        added = cut_at(self.connection, [splits[split][0] for split in ("validation", "test")])
        if added:
            write_starts(self.connection)
            self.counts["requests_cut_at_splits"] = added
            self.validator.notes.append(f"{added:,} requests that reach over the start of a split were cut there.")
        start, end = splits["test"]
        return {**splits, "test": (start, max(end, self._scalar("SELECT max(timestamp) FROM starts") + 1))}

    def _bounds(self, tables: RawTables) -> Bounds:
        # Requests are what is trained on and judged; without them, events.
        times = "SELECT timestamp, weight FROM starts"
        if not tables.has_requests:
            times = "SELECT timestamp, 1 AS weight FROM events"
        return find_splits(self.connection, times, tables.splits)

    def _schema(self, tables: RawTables) -> InputSchema:
        seen_in = ["events", "impressions"] if tables.has_requests else ["events"]
        length = "SELECT max(len(content)) FROM items" if tables.has_content else "SELECT 0"
        return InputSchema(
            actions=tables.actions,
            positive_actions=tables.positive_actions,
            surfaces=find_surfaces(self.connection, seen_in),
            tasks=tables.tasks,
            features=(),
            content_dim=self._scalar(length),
            numbered=tuple(name for name in VOCABULARIES if tables.kinds.get(name) in NUMBERED),
            ids=id_types(tables),
        )

    def _with_features(self, tables: RawTables, schema: InputSchema) -> InputSchema:
        if not tables.has_requests:
            return schema
        attributes = (Feature(name=n, kind="categorical", scope="candidate") for n in tables.item_attributes)
        features = (*tables.features, *attributes)
        joined = joined_impressions(features, tables.item_attributes, tables.tasks)
        train = f"SELECT * FROM ({joined}) WHERE {SPLIT} = 0"
        measured = with_statistics(self.connection, features, train)
        surface = surface_feature(self.connection)
        if surface and (several := requests_on_several_surfaces(self.connection)):
            self.validator.notes.append(f"{several:,} requests name several surfaces: the first candidate's is taken.")
        return InputSchema(**{**schema.__dict__, "features": (*surface, *measured)})

    def _item_ages(self, tables: RawTables) -> tuple[str, ...]:
        if self.options.item_age_thresholds:
            return tuple(self.options.item_age_thresholds)
        return find_age_thresholds(self.connection, "impressions" if tables.has_requests else "events")

    def _counts(self, tables: RawTables) -> Counts:
        users = "SELECT user_id FROM events"
        requests: dict[str, int] = {}
        impressions: dict[str, int] = {}
        outside = 0
        if tables.has_requests:
            users += " UNION SELECT user_id FROM impressions"
            for code, split in enumerate(SPLITS):
                within = f"{SPLIT} = {code}"
                requests[split] = self._scalar(f"SELECT count(*) FROM starts WHERE {within}")
                impressions[split] = self._scalar(f"SELECT coalesce(sum(weight), 0) FROM starts WHERE {within}")
            outside = self._count("impressions") - sum(impressions.values())
        return Counts(
            events=self._count("events"),
            events_by_split={
                split: self._scalar(f"SELECT count(*) FROM split_events WHERE {SPLIT} = {code}")
                for code, split in enumerate(SPLITS)
            },
            users=self._scalar(f"SELECT count(DISTINCT user_id) FROM ({users})"),
            items=self._count("all_items"),
            requests=requests,
            impressions=impressions,
            outside_splits=outside,
            rejected=self.validator.rejected,
            source={**tables.counts, **self.counts},
        )

    def _notes_on_time(self, tables: RawTables) -> list[str]:
        """A clock that begins at 0, another unit or a missing time puts rows into 1970, where no log was written."""
        start, end = self._time_span()
        if tables.time_unit is not None or start >= _END_OF_1970:
            return []
        if end < _END_OF_1970:
            return [
                "all times lie in 1970: they seem to count from another moment, or not seconds; --time-unit says what "
                "they count, and 'seconds' that this is right"
            ]
        times = self._times()
        early = self._scalar(f"SELECT count(*) FROM ({times}) WHERE timestamp < {_END_OF_1970}")
        lie = "lies" if early == 1 else "lie"
        return [
            f"{early:,} of {self._scalar(f'SELECT count(*) FROM ({times})'):,} times {lie} in 1970: are they missing?"
        ]

    def _times(self) -> str:
        """SQL of the times of all events and impressions."""
        times = "SELECT timestamp FROM events"
        if self.connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'impressions'").fetchone():
            times += " UNION ALL SELECT timestamp FROM impressions"
        return times

    def _time_span(self) -> tuple[int, int]:
        times = self._times()
        return (
            self._scalar(f"SELECT min(timestamp) FROM ({times})"),
            self._scalar(f"SELECT max(timestamp) FROM ({times})"),
        )

    def _count(self, table: str) -> int:
        return self._scalar(f"SELECT count(*) FROM {table}")

    def _scalar(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return int(row[0] or 0)


def _plain(info: DatasetInfo) -> Mapping[str, Any]:
    """The description as `dataset.json` holds it: lists and dictionaries only."""
    fields: Mapping[str, Any] = json.loads(info.to_json())
    return fields
