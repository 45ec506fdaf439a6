"""The leave-one-out protocol on a prepared dataset: the last item is the test, the one before it the validation."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import IntArray, scalar_column
from pinfm.train.data.write import bucket_file
from pinfm.train.evaluation.queries import Queries, bucket_events

TEST, VALIDATION = 1, 2  # places from a user's end


def kept_items(dataset: PreparedDataset, least: int) -> IntArray:
    """The items with at least so many events, ascending."""
    ids = np.concatenate([bucket_events(dataset, bucket)["item_id"] for bucket in range(dataset.info.num_buckets)])
    items, counts = np.unique(ids, return_counts=True)
    return np.asarray(items[counts >= least])


def without_last(dataset: PreparedDataset, catalogue: IntArray, held_out: int, out: Path) -> PreparedDataset:
    """Writes a copy without each user's newest events, for `pinfm pretrain`.

    Args:
        dataset: all events.
        catalogue: the items that stay.
        held_out: how many events of each user are left out.
        out: the folder to write; left alone where it exists.
    """
    if not (out / "dataset.json").exists():
        (out / "events").mkdir(parents=True, exist_ok=True)
        counts, num_users = np.zeros(len(catalogue), dtype=np.int64), 0
        for bucket in range(dataset.info.num_buckets):
            events = _of_catalogue(dataset.events(bucket), catalogue)
            from_end = _places_from_end(scalar_column(events, "user_id").astype(np.int64))
            events = events.filter(pyarrow.array(from_end > held_out))
            pyarrow.parquet.write_table(events, out / "events" / bucket_file(bucket))
            num_users += pc.count_distinct(events["user_id"]).as_py()
            np.add.at(counts, np.searchsorted(catalogue, scalar_column(events, "item_id")), 1)
        items = dataset.items()
        items = items.filter(pc.is_in(items["item_id"], pyarrow.array(catalogue)))
        place = items.schema.get_field_index("event_count")
        pyarrow.parquet.write_table(
            items.set_column(place, "event_count", pyarrow.array(counts)), out / "items.parquet"
        )
        everything = dict.fromkeys(("validation", "test"), dataset.info.splits["test"][1:] * 2)
        splits = {"train": (dataset.info.splits["train"][0], dataset.info.splits["test"][1]), **everything}
        # What a user chose to rate is what the published models predict, whatever the stars.
        schema = replace(dataset.info.schema, positive_actions=dataset.info.schema.actions)
        kept = replace(
            dataset.info.counts,
            events=int(counts.sum()),
            users=num_users,
            items=len(catalogue),
            requests={},
            impressions={},
        )
        info = replace(dataset.info, counts=kept, splits=splits, schema=schema)
        (out / "dataset.json").write_text(info.to_json())
    return PreparedDataset.open(out)


def last_items(dataset: PreparedDataset, catalogue: IntArray, place: int) -> Iterator[Queries]:
    """Every user's held-out item.

    Args:
        dataset: all events.
        catalogue: the items that count.
        place: `TEST` or `VALIDATION`.
    """
    for bucket in range(dataset.info.num_buckets):
        events = bucket_events(dataset, bucket)
        kept = np.isin(events["item_id"], catalogue)
        events = {name: column[kept] for name, column in events.items()}
        target = np.flatnonzero(_places_from_end(events["user_id"]) == place)
        first = np.searchsorted(events["user_id"], events["user_id"][target])
        yield Queries(events, first[target > first], target[target > first])


def _of_catalogue(events: pyarrow.Table, catalogue: IntArray) -> pyarrow.Table:
    return events.filter(pc.is_in(events["item_id"], pyarrow.array(catalogue)))


def _places_from_end(user_id_T: IntArray) -> IntArray:
    """1 for a user's newest event, 2 for the one before, and so on; equal ids are adjacent and ascend."""
    ends_T = np.searchsorted(user_id_T, user_id_T, side="right")
    return np.asarray(ends_T - np.arange(len(user_id_T)), dtype=np.int64)
