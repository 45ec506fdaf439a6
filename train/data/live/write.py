"""The counters of a dataset's requests: `live_counts/SPLIT/bucket-00000.parquet`, one row a candidate."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow
import pyarrow.parquet

from pinfm.model.live_counts import LiveCountsSpec
from pinfm.model.schema import Feature
from pinfm.train.data.info import SPLITS
from pinfm.train.data.live.counts import Marks
from pinfm.train.data.live.marks import MarkReader, Part, key_columns
from pinfm.train.data.live.scratch import Scratch
from pinfm.train.data.live.statistics import Statistics
from pinfm.train.data.live.threads import in_threads
from pinfm.train.data.ragged import IntArray, list_column, scalar_column
from pinfm.train.data.write import bucket_file

FOLDER = "live_counts"
# Candidates whose counts are looked up at once, some 60 bytes each: of drawn ones there may be twenty times the marks.
_QUERIES_PER_LOOKUP = 4_000_000


class LiveCountsWriter:
    """Counts for the requests that a dataset's files hold already.

    Args:
        connection: the database with `events`, `impressions` and `all_items`.
        folder: of the dataset.
        work: for temporary files.
        spec: what is counted.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        work: Path,
        spec: LiveCountsSpec,
    ) -> None:
        self._connection, self._folder, self._spec = connection, folder, spec
        self._work = work / FOLDER
        self._buckets = range(sum(1 for _ in (folder / "impressions" / "train").iterdir()))

    def write(self) -> tuple[Feature, ...]:
        """Writes the files; returns the counters as features, with the statistics of the training split."""
        self._work.mkdir()
        for split in SPLITS:
            (self._folder / FOLDER / split).mkdir(parents=True)
        self._num_candidates = list(in_threads(self._spool, self._buckets, "requests", len(self._buckets)))
        self._scratch = Scratch(self._work, len(self._spec.names()), self._num_candidates)
        for place, key in enumerate(self._spec.of):
            marks = MarkReader(self._connection, self._spec, key)
            count = partial(self._count, marks.columns, place * len(self._spec.windows) * len(self._spec.kinds))
            for _ in in_threads(count, marks.parts(), f"counts of {key}", marks.num_parts):
                pass
        parts = list(in_threads(self._write_bucket, self._buckets, "live counts", len(self._buckets)))
        return Statistics.sum(parts).features(self._spec.names())

    def _spool(self, bucket: int) -> int:
        """Unpacks what a bucket's candidates are asked for, once; returns how many there are."""
        columns = [*dict.fromkeys(column for key in self._spec.of for column in key_columns(key)), "timestamp"]
        parts = [self._candidates(split, bucket, columns) for split in SPLITS]
        for name, column in zip(columns, zip(*parts, strict=True), strict=True):
            np.save(self._work / f"{bucket}.{name}.npy", np.concatenate(column))
        return sum(len(of_split[0]) for of_split in parts)

    def _count(self, columns: Sequence[str], counter: int, part: Part) -> None:
        """Puts the counters of a range of keys, of which `counter` is the first, into every bucket's scratch file."""
        asked: list[tuple[list[IntArray], IntArray]] = []
        for bucket in self._buckets:
            asked.append(self._queries(bucket, columns, part))
            if bucket == self._buckets[-1] or sum(len(rows) for _, rows in asked) >= _QUERIES_PER_LOOKUP:
                self._look_up(asked, bucket + 1 - len(asked), counter, part.marks)
                asked = []

    def _look_up(
        self, asked: Sequence[tuple[list[IntArray], IntArray]], first_bucket: int, counter: int, marks: Marks
    ) -> None:
        """Counts for some buckets one after the other, of which `asked` are the `_queries`."""
        *keys, time = (np.concatenate(column) for column in zip(*(values for values, _ in asked), strict=True))
        before = marks.before(keys, time)
        ends = np.cumsum([len(rows) for _, rows in asked])
        for window in self._spec.windows:
            for place, counts in enumerate(np.split(before.within(window), ends[:-1])):
                scratch, rows = self._scratch[first_bucket + place], asked[place][1]
                for kind in range(len(self._spec.kinds)):
                    scratch[counter + kind][rows] = counts[:, kind]
            counter += len(self._spec.kinds)

    def _queries(self, bucket: int, columns: Sequence[str], part: Part) -> tuple[list[IntArray], IntArray]:
        """What is asked for those of a bucket's candidates whose key lies in a range.

        Returns:
            (Q,) arrays of the key's columns and of the request's time, and (Q,) rows among the bucket's candidates.
        """
        files = (self._work / f"{bucket}.{column}.npy" for column in (*columns, "timestamp"))
        values = [np.load(file, mmap_mode="r" if self._num_candidates[bucket] else None) for file in files]
        rows = np.flatnonzero((values[0] >= part.first) & (values[0] <= part.last))
        return [value[rows] for value in values], rows

    def _candidates(self, split: str, bucket: int, columns: Sequence[str]) -> list[IntArray]:
        """(N,) arrays of some columns."""
        table = pyarrow.parquet.read_table(
            self._impressions(split, bucket), columns=[*dict.fromkeys(("item_id", *columns))]
        )
        lengths = list_column(table, "item_id")[1]
        values = [
            np.repeat(scalar_column(table, column), lengths)
            if column in ("user_id", "timestamp")
            else list_column(table, column)[0]
            for column in columns
        ]
        return [value.astype(np.int64, copy=False) for value in values]

    def _lengths(self, split: str, bucket: int) -> IntArray:
        """Candidates of each request."""
        table = pyarrow.parquet.read_table(self._impressions(split, bucket), columns=["item_id"])
        return list_column(table, "item_id")[1]

    def _impressions(self, split: str, bucket: int) -> Path:
        return self._folder / "impressions" / split / bucket_file(bucket)

    def _write_bucket(self, bucket: int) -> Statistics:
        """Writes the files of a bucket; returns the statistics of its training split."""
        statistics, counts, begin = Statistics(len(self._spec.names())), self._scratch[bucket], 0
        schema = pyarrow.schema([pyarrow.field(name, pyarrow.int32(), nullable=False) for name in self._spec.names()])
        for split in SPLITS:
            end = begin + int(self._lengths(split, bucket).sum())
            columns = list(counts[:, begin:end])
            begin = end
            if split == "train":
                statistics.add(columns)
            pyarrow.parquet.write_table(
                pyarrow.table([pyarrow.array(column) for column in columns], schema=schema),
                self._folder / FOLDER / split / bucket_file(bucket),
                # The upper bytes of small numbers are zeros: once they stand together, they pack to nothing.
                compression="zstd",
                use_dictionary=False,
                column_encoding="BYTE_STREAM_SPLIT",
                write_statistics=False,
            )
        self._scratch.drop(bucket)
        return statistics
