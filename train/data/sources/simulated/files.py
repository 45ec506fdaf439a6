"""The world of `world.py` as Parquet files, streamed block by block."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from pinfm.train.data.sources.simulated.items import DAY, Ints, Items
from pinfm.train.data.sources.simulated.world import Shown, World

ACTIONS = ("click", "save", "hide")
SURFACES = ("home", "related", "search")  # the first three; others are called by their numbers
_ITEMS_PER_GROUP = 1 << 16
_SECONDS_PER_POSITION = 20  # how long a user looks at an item before the next


def write_log(world: World, work: Path) -> dict[str, int]:
    """Writes events and impressions block by block, so that memory does not grow with the number of users."""
    counts = {"events": 0, "impressions": 0}
    events_file, impressions_file = work / "events.parquet", work / "impressions.parquet"
    with (
        pyarrow.parquet.ParquetWriter(events_file, _EVENTS, compression="zstd") as events_writer,
        pyarrow.parquet.ParquetWriter(impressions_file, _IMPRESSIONS, compression="zstd") as impressions_writer,
    ):
        for block in tqdm(range(world.num_blocks), desc="users", unit="block", disable=None):
            shown = world.block(block)
            events, impressions = _events(shown), _impressions(shown)
            events_writer.write_table(events)
            impressions_writer.write_table(impressions)
            counts["events"] += events.num_rows
            counts["impressions"] += impressions.num_rows
    return counts


def write_items(items: Items, content_dim: int, path: Path) -> None:
    """Writes the items, a group of rows at a time."""
    tables = _item_tables(items, content_dim)
    first = next(tables)
    with pyarrow.parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


_EVENTS = pyarrow.schema(
    [
        ("user_id", pyarrow.int64()),
        ("timestamp", pyarrow.int64()),
        ("action", pyarrow.string()),
        ("surface", pyarrow.string()),
        ("item_id", pyarrow.int64()),
    ]
)
_IMPRESSIONS = pyarrow.schema(
    [
        ("request_id", pyarrow.int64()),
        ("user_id", pyarrow.int64()),
        ("timestamp", pyarrow.int64()),
        ("surface", pyarrow.string()),
        ("item_id", pyarrow.int64()),
        *((action, pyarrow.bool_()) for action in ACTIONS),
        ("position", pyarrow.float32()),
        ("hour", pyarrow.int64()),
    ]
)


def _events(shown: Shown) -> pyarrow.Table:
    """One event per impression with feedback, under its strongest action, when the user has reached its place."""
    action_N = np.select([shown.save_N, shown.click_N, shown.hide_N], [1, 0, 2], default=-1)
    kept = action_N >= 0
    columns = {
        "user_id": shown.user_N[kept],
        "timestamp": (shown.timestamp_N + _SECONDS_PER_POSITION * (1 + shown.position_N))[kept],
        "action": np.array(ACTIONS)[action_N[kept]],
        "surface": _surface_names(shown.surface_N[kept]),
        "item_id": shown.item_N[kept],
    }
    return pyarrow.table(columns, schema=_EVENTS)


def _surface_names(surface_N: Ints) -> npt.NDArray[np.str_]:
    count = 1 + int(surface_N.max(initial=0))
    return np.array([*SURFACES, *(f"surface_{place}" for place in range(len(SURFACES), count))])[surface_N]


def _impressions(shown: Shown) -> pyarrow.Table:
    columns = {
        "request_id": shown.request_N,
        "user_id": shown.user_N,
        "timestamp": shown.timestamp_N,
        "surface": _surface_names(shown.surface_N),
        "item_id": shown.item_N,
        "click": shown.click_N,
        "save": shown.save_N,
        "hide": shown.hide_N,
        "position": shown.position_N.astype(np.float32),
        "hour": 1 + shown.timestamp_N % DAY // 3600,
    }
    return pyarrow.table(columns, schema=_IMPRESSIONS)


def _item_tables(items: Items, content_dim: int) -> Iterator[pyarrow.Table]:
    for start in range(0, len(items.topic_I), _ITEMS_PER_GROUP):
        part = slice(start, start + _ITEMS_PER_GROUP)
        topic = items.topic_I[part]
        columns = {
            "item_id": pyarrow.array(np.arange(start, start + len(topic))),
            "created_at": pyarrow.array(items.created_I[part]),
            "topic": pyarrow.array(topic + 1),
        }
        if content_dim:
            offsets = pyarrow.array(np.arange(len(topic) + 1, dtype=np.int32) * content_dim)
            values = pyarrow.array(items.content[part].astype(np.float32).ravel())
            columns["content"] = pyarrow.ListArray.from_arrays(offsets, values)
        yield pyarrow.table(columns)
