"""Reading a prepared dataset: bucket by bucket, and the history that a request may see."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from pinfm.embeddings.errors import UserError
from pinfm.train.data.id_texts import FOLDER
from pinfm.train.data.info import SPLITS, DatasetInfo
from pinfm.train.data.item_attributes import ItemAttributes
from pinfm.train.data.live.write import FOLDER as LIVE_COUNTS
from pinfm.train.data.ragged import IntArray, list_column
from pinfm.train.data.write import bucket_file


class PreparedDataset:
    """A folder written by `pinfm prepare`.

    Args:
        path: the folder.
        info: its description.
    """

    def __init__(self, path: Path, info: DatasetInfo):
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: str | Path) -> "PreparedDataset":
        """Opens a folder.

        Raises:
            UserError: see `DatasetInfo.read`.
        """
        return cls(Path(path), DatasetInfo.read(Path(path)))

    def items(self) -> pyarrow.Table:
        """Returns all items, ascending in item_id: created_at, content, attributes, event_count.

        Where the splits are not by time `in_training` tells whether training may know of an item.
        """
        return self._read("items.parquet")

    @cached_property
    def item_attributes(self) -> ItemAttributes:
        """What training needs to know of items; read once, since their content may be gigabytes."""
        return ItemAttributes(self.items(), self.info.schema.content_dim)

    def events(self, bucket: int, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """Returns the events of a bucket's users, ascending in user_id, then timestamp, equal times as in the log.

        Where the splits are not by time each has a `split`, its place in `SPLITS`.

        Args:
            bucket: from 0 to `info.num_buckets` - 1.
            columns: to read; all where None.
        """
        return self._read(f"events/{bucket_file(bucket)}", columns)

    def known_items(self) -> IntArray:
        """The ids of items that training may know of, ascending."""
        by_place = self.info.split_last is not None
        return self.item_attributes.in_training() if by_place else self.item_attributes.known_at(self.info.train_end)

    @property
    def split_column(self) -> str:
        """The column of events that tells their split."""
        return "timestamp" if self.info.split_last is None else "split"

    def are_training(self, split_column_N: IntArray) -> npt.NDArray[np.bool_]:
        """(N,) which events training sees, by their `split_column`: those before its end, or at no held-out place."""
        return split_column_N < (self.info.train_end if self.info.split_last is None else 1)

    def requests(self, split: str, bucket: int, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """Returns the requests of a bucket's users, ascending in user_id, then timestamp, then request_id.

        Args:
            split: `train`, `validation` or `test`.
            bucket: from 0 to `info.num_buckets` - 1.
            columns: to read; all where None.

        Raises:
            UserError: when the dataset has no impressions or the split is unknown.
        """
        if not self.info.schema.tasks:
            raise UserError(f"{self.path} holds no impressions; prepare it with --impressions, or only pretrain on it")
        if split not in SPLITS:
            raise UserError(f"{self.path} has no split {split!r}; choose one of {', '.join(SPLITS)}")
        file, spec = f"{split}/{bucket_file(bucket)}", self.info.schema.live_counts
        counters = [] if spec is None else [name for name in spec.names() if columns is None or name in columns]
        own = None if columns is None else [name for name in columns if name not in counters]
        requests = self._read(f"impressions/{file}", own)
        if not counters:
            return requests
        # Counters lie flat, in the order of the candidates.
        lengths = list_column(self._read(f"impressions/{file}", ["item_id"]), "item_id")[1]
        offsets = pyarrow.array(np.append(0, np.cumsum(lengths)).astype(np.int32))
        for name, column in zip(counters, self._read(f"{LIVE_COUNTS}/{file}", counters).columns, strict=True):
            values = column.combine_chunks() if column.num_chunks else pyarrow.array([], column.type)
            requests = requests.append_column(name, pyarrow.ListArray.from_arrays(offsets, values))
        return requests

    def num_requests(self, split: str, bucket: int) -> int:
        """Returns how many requests a bucket has in a split, from the file's footer alone."""
        with self._readable(f"impressions/{split}/{bucket_file(bucket)}") as path:
            rows: int = pyarrow.parquet.read_metadata(path).num_rows
        return rows

    def _read(self, file: str, columns: Sequence[str] | None = None) -> pyarrow.Table:
        with self._readable(file) as path:
            return pyarrow.parquet.read_table(path, columns=None if columns is None else list(columns))

    def as_logged(self, column: str, ids_N: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Ids as the log writes them.

        Args:
            column: `user_id`, `item_id` or `request_id`.
            ids_N: what the dataset has for them.

        Returns:
            (N,) int64, uint64 or texts, by `info.schema.ids`.
        """
        id_type = self.info.schema.id_type(column)
        if id_type != "text":
            return ids_N.view(id_type)
        wanted, place_N = np.unique(ids_N, return_inverse=True)
        with self._readable(f"{FOLDER}/{column}.parquet") as path:
            found = pyarrow.parquet.read_table(path, filters=[("id", "in", pyarrow.array(wanted))])
        if not np.array_equal(found["id"].to_numpy(), wanted):
            raise UserError(f"{path} lacks ids of the dataset; run `pinfm prepare` again")
        texts: npt.NDArray[np.object_] = found["text"].to_numpy(zero_copy_only=False)[place_N]
        return texts

    @contextmanager
    def _readable(self, file: str) -> Iterator[Path]:
        path = self.path / file
        try:
            yield path
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing; run `pinfm prepare` again") from error
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"{path} can't be read as Parquet; run `pinfm prepare` again") from error


def history_ranges(
    events: pyarrow.Table, requests: pyarrow.Table, max_history: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Finds the rows of `events` that each request may see: its user's newest, strictly before its timestamp.

        events   user 1: t=3 t=5 t=9     user 2: t=4        request (1, 9) -> rows [0, 2)
                      0   1   2               3             request (2, 4) -> rows [3, 3)

    Args:
        events: a bucket's events, ascending in user_id, then timestamp.
        requests: requests of the same bucket, in any order.
        max_history: most rows of a range; older ones are left out.

    Returns:
        start_R, end_R: int64, rows [start, end) of `events` for each request.
    """
    user_N, time_N = (events[column].to_numpy() for column in ("user_id", "timestamp"))
    user_R, time_R = (requests[column].to_numpy() for column in ("user_id", "timestamp"))
    first_R = np.searchsorted(user_N, user_R, side="left")
    # Two sort keys in one search: rank every (user, time) among the events' and the requests' own.
    users = np.unique(np.concatenate([user_N, user_R]))
    times = np.unique(np.concatenate([time_N, time_R]))
    key_N = np.searchsorted(users, user_N) * len(times) + np.searchsorted(times, time_N)
    key_R = np.searchsorted(users, user_R) * len(times) + np.searchsorted(times, time_R)
    end_R = np.searchsorted(key_N, key_R, side="left")
    return np.maximum(first_R, end_R - max_history), end_R
