"""The counters of a dataset's requests: `live_counts/SPLIT/bucket-00000.parquet`, row for row beside `impressions/`."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np
import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from pinfm.model.live_counts import LiveCountsSpec
from pinfm.model.schema import Feature
from pinfm.train.data.info import SPLITS
from pinfm.train.data.live.counts import Before, Counts
from pinfm.train.data.live.marks import MarkReader
from pinfm.train.data.live.statistics import Statistics
from pinfm.train.data.ragged import IntArray, list_column, scalar_column
from pinfm.train.data.write import REQUESTS_PER_GROUP, bucket_file

FOLDER = "live_counts"
# Numpy and Arrow leave Python's lock; each thread holds a window's counters, or a bucket's.
_THREADS = 2

T = TypeVar("T")


class LiveCountsWriter:
    """Counts for the requests that a dataset's files hold already.

    Args:
        connection: the database with `events`, `impressions` and `all_items`.
        folder: of the dataset.
        work: for temporary files.
        spec: what is counted.
        num_buckets: files that users are spread over.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        work: Path,
        spec: LiveCountsSpec,
        num_buckets: int,
    ) -> None:
        self._connection, self._folder, self._spec = connection, folder, spec
        self._work, self._buckets = work / FOLDER, range(num_buckets)

    def write(self) -> tuple[Feature, ...]:
        """Writes the files; returns the counters as features, with the statistics of the training split."""
        self._work.mkdir()
        for split in SPLITS:
            (self._folder / FOLDER / split).mkdir(parents=True)
        scratch = [self._scratch(bucket) for bucket in self._buckets]
        for place, key in enumerate(self._spec.of):
            begin = place * len(self._spec.windows)
            self._count(key, [blocks[begin : begin + len(self._spec.windows)] for blocks in scratch])
        parts = _in_threads(partial(self._write_bucket, scratch), self._buckets, "live counts")
        return Statistics.sum(parts).features(self._spec.names())

    def _scratch(self, bucket: int) -> Counts:
        """(keys * windows, candidates, kinds) in a file, zeros until they are written."""
        rows = sum(int(self._lengths(split, bucket).sum()) for split in SPLITS)
        shape = (len(self._spec.of) * len(self._spec.windows), rows, len(self._spec.kinds))
        if not rows:
            return np.zeros(shape, dtype=np.int32)
        return np.memmap(self._work / f"{bucket}.int32", dtype=np.int32, mode="w+", shape=shape)

    def _count(self, key: str, blocks: list[Counts]) -> None:
        """Puts the counters of one key into blocks (windows, candidates, kinds) of each bucket."""
        marks = MarkReader(self._connection, self._spec, key)
        for first, last, of_range in marks.parts():
            queries = [self._queries(bucket, marks.columns, first, last) for bucket in self._buckets]
            *keys, time = (np.concatenate(column) for column in zip(*(values for values, _ in queries), strict=True))
            fill = partial(self._fill, of_range.before(keys, time), blocks, [rows for _, rows in queries])
            _in_threads(fill, range(len(self._spec.windows)), f"counts of {key}")

    def _fill(self, before: Before, blocks: list[Counts], rows: list[IntArray], window: int) -> None:
        """Counts one window, of all buckets' rows one after the other."""
        counts = before.within(self._spec.windows[window])
        ends = np.cumsum([len(of_bucket) for of_bucket in rows])
        for bucket, of_bucket in enumerate(np.split(counts, ends[:-1])):
            blocks[bucket][window, rows[bucket]] = of_bucket

    def _queries(self, bucket: int, columns: Sequence[str], first: int, last: int) -> tuple[list[IntArray], IntArray]:
        """What is asked for those of a bucket's candidates whose key lies in a range.

        Returns:
            (Q,) arrays of the key's columns and of the request's time, and (Q,) rows among the bucket's candidates.
        """
        parts = [self._candidates(split, bucket, columns) for split in SPLITS]
        values = [np.concatenate(column) for column in zip(*parts, strict=True)]
        rows = np.flatnonzero((values[0] >= first) & (values[0] <= last))
        return [value[rows] for value in values], rows

    def _candidates(self, split: str, bucket: int, columns: Sequence[str]) -> list[IntArray]:
        """(N,) arrays of some columns, and of the time of the request."""
        columns = (*columns, "timestamp")
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

    def _write_bucket(self, scratch: list[Counts], bucket: int) -> Statistics:
        """Writes the files of a bucket; returns the statistics of its training split."""
        statistics, begin = Statistics(len(self._spec.names())), 0
        for split in SPLITS:
            lengths = self._lengths(split, bucket)
            blocks = scratch[bucket][:, begin : begin + lengths.sum()]
            begin += blocks.shape[1]
            columns = [np.ascontiguousarray(block[:, kind]) for block in blocks for kind in range(block.shape[1])]
            if split == "train":
                statistics.add(columns)
            offsets = pyarrow.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
            lists = [pyarrow.ListArray.from_arrays(offsets, pyarrow.array(column)) for column in columns]
            pyarrow.parquet.write_table(
                pyarrow.table(lists, names=list(self._spec.names())),
                self._folder / FOLDER / split / bucket_file(bucket),
                compression="zstd",
                # Neighbouring counters differ by little: a quarter less time than with dictionaries.
                use_dictionary=False,
                column_encoding="DELTA_BINARY_PACKED",
                write_statistics=False,
                row_group_size=REQUESTS_PER_GROUP,
            )
        (self._work / f"{bucket}.int32").unlink(missing_ok=True)
        return statistics


def _in_threads(work: Callable[[int], T], parts: Iterable[int], told: str) -> list[T]:
    """The results of all parts, in order, with a bar where stderr is a terminal."""
    parts = list(parts)
    with ThreadPool(_THREADS) as pool:
        return list(tqdm(pool.imap(work, parts), total=len(parts), desc=told, disable=None))
