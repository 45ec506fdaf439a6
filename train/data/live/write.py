"""The counters of a dataset's requests: `live_counts/SPLIT/bucket-00000.parquet`, row for row beside `impressions/`."""


from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np

import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from pinfm.model.live_counts import LiveCountsSpec
from pinfm.model.schema import Feature
from pinfm.train.data.info import SPLITS
from pinfm.train.data.live.counts import Counts
from pinfm.train.data.live.marks import MarkReader
from pinfm.train.data.ragged import IntArray, list_column, scalar_column
from pinfm.train.data.write import REQUESTS_PER_GROUP, bucket_file

FOLDER = "live_counts"


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
        self._connection, self._folder, self._spec, self._num_buckets = connection, folder, spec, num_buckets
        self._work = work / FOLDER

    def write(self) -> tuple[Feature, ...]:
        """Writes the files; returns the counters as features, with the statistics of the training split."""
        self._work.mkdir()
        for split in SPLITS:
            (self._folder / FOLDER / split).mkdir(parents=True)
        for place, key in enumerate(self._spec.of):
            self._count(place, key)
        statistics = _Statistics(len(self._spec.names()))
        # disable=None: no bar where stderr is no terminal.
        for bucket in tqdm(range(self._num_buckets), desc="live counts", unit="bucket", disable=None):
            self._write_bucket(bucket, statistics)
        return tuple(
            Feature(name=name, kind="dense", scope="candidate", mean=mean, std=std)
            for name, mean, std in zip(self._spec.names(), *statistics.of_logarithms(), strict=True)
        )

    def _count(self, place: int, key: str) -> None:
        """Puts the counters of one key into their columns of the scratch files."""
        marks = MarkReader(self._connection, self._spec, key)
        width = len(self._spec.names()) // len(self._spec.of)
        for first, last, of_range in marks.parts():
            for bucket in tqdm(range(self._num_buckets), desc=f"counts of {key}", unit="bucket", disable=None):
                *keys, time = self._queries(bucket, marks.columns)
                here = np.flatnonzero((keys[0] >= first) & (keys[0] <= last))
                counts = of_range.count([of_key[here] for of_key in keys], time[here], self._spec.windows)
                self._scratch(bucket, len(time))[here, place * width : (place + 1) * width] = counts

    def _queries(self, bucket: int, columns: Sequence[str]) -> list[IntArray]:
        """(N,) arrays of a bucket's candidates, split after split: some columns, then the time of the request."""
        parts = [self._candidates(split, bucket, columns) for split in SPLITS]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _candidates(self, split: str, bucket: int, columns: Sequence[str]) -> list[IntArray]:
        own = [column for column in columns if column != "user_id"]
        wanted = [*dict.fromkeys(("item_id", *own, "user_id", "timestamp"))]
        table = pyarrow.parquet.read_table(self._impressions(split, bucket), columns=wanted)
        lengths = list_column(table, "item_id")[1]
        values = [
            np.repeat(scalar_column(table, column), lengths)
            if column in ("user_id", "timestamp")
            else list_column(table, column)[0]
            for column in (*columns, "timestamp")
        ]
        return [value.astype(np.int64, copy=False) for value in values]

    def _impressions(self, split: str, bucket: int) -> Path:
        return self._folder / "impressions" / split / bucket_file(bucket)

    def _scratch(self, bucket: int, rows: int) -> Counts:
        """A file of (rows, counters), made when it is first asked for; zeros until they are written."""
        path = self._work / f"{bucket}.int32"
        shape = (rows, len(self._spec.names()))
        if not rows:
            return np.zeros(shape, dtype=np.int32)
        return np.memmap(path, dtype=np.int32, mode="r+" if path.exists() else "w+", shape=shape)

    def _write_bucket(self, bucket: int, statistics: "_Statistics") -> None:
        lengths = [
            list_column(pyarrow.parquet.read_table(self._impressions(split, bucket), columns=["item_id"]), "item_id")[1]
            for split in SPLITS
        ]
        counts = self._scratch(bucket, int(sum(of_split.sum() for of_split in lengths)))
        begin = 0
        for split, of_split in zip(SPLITS, lengths, strict=True):
            rows = counts[begin : begin + of_split.sum()]
            begin += len(rows)
            offsets = pyarrow.array(np.append(0, np.cumsum(of_split)).astype(np.int32))
            columns = [np.ascontiguousarray(rows[:, place]) for place in range(rows.shape[1])]
            if split == "train":
                statistics.add(columns)
            table = pyarrow.table(
                {
                    name: pyarrow.ListArray.from_arrays(offsets, pyarrow.array(column))
                    for name, column in zip(self._spec.names(), columns, strict=True)
                }
            )
            path = self._folder / FOLDER / split / bucket_file(bucket)
            pyarrow.parquet.write_table(table, path, compression="zstd", row_group_size=REQUESTS_PER_GROUP)
        (self._work / f"{bucket}.int32").unlink(missing_ok=True)


class _Statistics:
    """Mean and standard deviation of log(1 + counts), as dense features are scaled by."""

    def __init__(self, num_counters: int) -> None:
        self._sums = np.zeros((3, num_counters))

    def add(self, columns: Sequence[Counts]) -> None:
        """Takes the counters of more rows."""
        for place, column in enumerate(columns):
            # Most counts are small, and a value's logarithm is taken once.
            rows = np.bincount(column)
            values = np.flatnonzero(rows)
            logarithms, rows = np.log1p(values), rows[values]
            self._sums[:, place] += rows.sum(), rows @ logarithms, rows @ logarithms**2

    def of_logarithms(self) -> tuple[list[float], list[float]]:
        """The means and the standard deviations, 1 where a counter is constant."""
        rows, total, squares = self._sums
        mean = total / np.maximum(rows, 1)
        std = np.sqrt(np.maximum(squares / np.maximum(rows, 1) - mean**2, 0))
        return mean.round(8).tolist(), np.where(std.round(8) > 0, std.round(8), 1.0).tolist()
