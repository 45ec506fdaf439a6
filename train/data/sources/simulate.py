"""A simulated log of any size: the world of `world.py`, streamed to Parquet block by block."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import Feature
from pinfm.train.data.reading.validate import Validator
from pinfm.train.data.sources.world import DAY, START, Items, Shown, World, WorldSize
from pinfm.train.data.tables import RawTables, SplitRule

ACTIONS = ("click", "save", "hide")
SURFACES = ("home", "related", "search")
_ITEMS_PER_GROUP = 1 << 16
_SECONDS_PER_POSITION = 20  # how long a user looks at an item before the next


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """A simulated world, the same for the same flags on every machine.

    Args:
        num_users: users.
        num_items: items; 40 % of them arrive during the days of the world.
        num_days: days of activity, from 2024-01-01; the last two tenths are validation and test.
        requests_per_user: mean number of requests of a user.
        candidates_per_request: most items of a request.
        content_dim: length of the content vectors; 0 for none.
        seed: seed of all randomness.
    """

    num_users: int = 2000
    num_items: int = 5000
    num_days: int = 30
    requests_per_user: float = 30.0
    candidates_per_request: int = 10
    content_dim: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "num_users": 1,
            "num_items": 1,
            "num_days": 3,
            "candidates_per_request": 1,
            "content_dim": 0,
            "seed": 0,
        }
        for field, value in least.items():
            if getattr(self, field) < value:
                raise UserError(f"{field} ({getattr(self, field)}) must be at least {value}; give a larger number")
        if not 1 <= self.requests_per_user <= 1e5:
            raise UserError(f"requests_per_user ({self.requests_per_user}) must lie between 1 and 100,000; change it")
        if self.num_days > 365:
            raise UserError(f"num_days ({self.num_days}) must be at most 365; ask for more requests_per_user instead")

    @property
    def name(self) -> str:
        """Name of the source in `dataset.json`."""
        return "simulate"

    def load(self, validator: Validator, work: Path) -> RawTables:
        """See `tables.Source`."""
        size = WorldSize(
            num_users=self.num_users,
            num_items=self.num_items,
            num_days=self.num_days,
            requests_per_user=self.requests_per_user,
            candidates_per_request=self.candidates_per_request,
            content_dim=self.content_dim,
        )
        world = World(size, self.seed)
        _write_parquet(work / "items.parquet", _item_tables(world.items, self.content_dim))
        counts = _write_log(world, work)
        for table in ("items", "events", "impressions"):
            validator.read(f"simulated_{table}", work / f"{table}.parquet")
        test_days = max(1, self.num_days // 10)
        return RawTables(
            events="simulated_events",
            items="simulated_items",
            impressions="simulated_impressions",
            actions=ACTIONS,
            positive_actions=("click", "save"),
            tasks=ACTIONS,
            features=(
                Feature(name="position", kind="dense", scope="candidate"),
                Feature(name="hour", kind="categorical", scope="request"),
            ),
            item_attributes=("topic",),
            has_content=self.content_dim > 0,
            splits=SplitRule(
                validation_start=START + (self.num_days - 2 * test_days) * DAY,
                test_start=START + (self.num_days - test_days) * DAY,
            ),
            notes=(f"Simulated with seed {self.seed}; the formulae are in docs/data.md.",),
            counts=counts,
        )


def _write_log(world: World, work: Path) -> dict[str, int]:
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


def _write_parquet(path: Path, tables: Iterator[pyarrow.Table]) -> None:
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
        "surface": np.array(SURFACES)[shown.surface_N[kept]],
        "item_id": shown.item_N[kept],
    }
    return pyarrow.table(columns, schema=_EVENTS)


def _impressions(shown: Shown) -> pyarrow.Table:
    columns = {
        "request_id": shown.request_N,
        "user_id": shown.user_N,
        "timestamp": shown.timestamp_N,
        "surface": np.array(SURFACES)[shown.surface_N],
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
