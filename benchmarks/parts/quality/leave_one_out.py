"""The leave-one-out protocol of published next-item models: what `pinfm prepare events --split-by leave-one-out` does.

Beside it, what belongs to the protocol alone: films with few ratings are left out, every rating counts whatever its
stars, and one row of the table trains on the validation items too.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.prepare import prepare
from pinfm.train.data.ragged import IntArray, scalar_column
from pinfm.train.data.sources.events import Events
from pinfm.train.data.write import bucket_file
from pinfm.train.evaluation.queries import Queries, bucket_events, split_queries


def kept_items(dataset: PreparedDataset, least: int) -> IntArray:
    """The items with at least so many events, ascending."""
    ids = np.concatenate([bucket_events(dataset, bucket)["item_id"] for bucket in range(dataset.info.num_buckets)])
    items, counts = np.unique(ids, return_counts=True)
    return np.asarray(items[counts >= least])


def leave_one_out(dataset: PreparedDataset, catalogue: IntArray, out: Path) -> PreparedDataset:
    """Prepares the events on some items anew, with each user's newest held out.

    Args:
        dataset: all events.
        catalogue: the items that stay.
        out: the folder to write; left alone where it exists.
    """
    if not (out / "dataset.json").exists():
        tables = out.with_name(out.name + "_tables")
        _write_tables(dataset, catalogue, tables)
        source = Events(
            path=tables / "events.parquet",
            items=tables / "items.parquet",
            actions=list(dataset.info.schema.actions),
            split_by="leave-one-out",
        )
        options = PrepareOptions(num_buckets=dataset.info.num_buckets, max_history=dataset.info.max_history)
        prepare(source, out, options)
        shutil.rmtree(tables)
    return PreparedDataset.open(out)


def _write_tables(dataset: PreparedDataset, catalogue: IntArray, folder: Path) -> None:
    """Writes the events and items as tables of one's own: actions by name, equal times in the dataset's order."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = pyarrow.array(catalogue)
    events = pyarrow.concat_tables(map(dataset.events, range(dataset.info.num_buckets)))
    events = events.filter(pc.is_in(events["item_id"], kept)).combine_chunks()
    names = pyarrow.array([None, *dataset.info.schema.actions]).take(events["action"].combine_chunks())
    events = events.set_column(events.schema.get_field_index("action"), "action", names)
    pyarrow.parquet.write_table(events.select(["user_id", "timestamp", "action", "item_id"]), folder / "events.parquet")
    items = dataset.items()
    items = items.filter(pc.is_in(items["item_id"], kept)).drop_columns("event_count")
    pyarrow.parquet.write_table(items, folder / "items.parquet")


def with_validation(dataset: PreparedDataset, out: Path) -> PreparedDataset:
    """Writes a copy of a leave-one-out dataset in which the validation items are training.

    Args:
        dataset: see `leave_one_out`.
        out: the folder to write; left alone where it exists.
    """
    if not (out / "dataset.json").exists():
        shutil.copytree(dataset.path, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("dataset.json"))
        items = dataset.items()
        counts = items["event_count"].to_numpy().copy()
        for bucket in range(dataset.info.num_buckets):
            events = dataset.events(bucket)
            split = scalar_column(events, "split")
            moved = split == SPLITS.index("validation")
            np.add.at(counts, np.searchsorted(items["item_id"].to_numpy(), scalar_column(events, "item_id")[moved]), 1)
            field = events.schema.get_field_index("split")
            events = events.set_column(field, "split", pyarrow.array(np.where(moved, 0, split).astype(np.int8)))
            pyarrow.parquet.write_table(events, out / "events" / bucket_file(bucket))
        field = items.schema.get_field_index("event_count")
        pyarrow.parquet.write_table(
            items.set_column(field, "event_count", pyarrow.array(counts)), out / "items.parquet"
        )
        (out / "dataset.json").write_text(dataset.info.to_json())
    return PreparedDataset.open(out)


def held_out(dataset: PreparedDataset, split: str) -> Iterator[Queries]:
    """Every user's held-out item.

    Args:
        dataset: see `leave_one_out`.
        split: `validation` or `test`.
    """
    return (split_queries(dataset, split, bucket) for bucket in range(dataset.info.num_buckets))
