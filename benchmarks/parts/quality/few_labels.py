"""A log in which one surface is new: events of all surfaces and days, labels of that one alone and of few days."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet

from benchmarks.parts.quality.runs import prepared
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.sources.simulated.files import write_items, write_log
from pinfm.train.data.sources.simulated.items import DAY, START

NEW_SURFACE = "search"
DAYS_OF_LABELS = 2


def late_surface(world: Simulate, out: Path) -> Path:
    """Prepares a simulated world whose surface `search` was opened two days before validation; once.

    Events on it before that day, and impressions elsewhere, are left out.

    Args:
        world: which one.
        out: the folder to write.
    """
    if (out / "dataset.json").exists():
        return out
    tables = out.with_name(f"{out.name}_tables")
    tables.mkdir(parents=True, exist_ok=True)
    simulated = world.world()
    write_items(simulated.items, world.content_dim, tables / "items.parquet")
    write_log(simulated, tables)
    days = max(1, world.num_days // 10)
    validation, test = (START + (world.num_days - back * days) * DAY for back in (2, 1))
    opened = validation - DAYS_OF_LABELS * DAY
    for name in ("events", "impressions"):
        path = tables / f"{name}.parquet"
        rows = pyarrow.parquet.read_table(path)
        on_surface, late = pc.equal(rows["surface"], NEW_SURFACE), pc.greater_equal(rows["timestamp"], opened)
        kept = pc.and_(on_surface, late) if name == "impressions" else pc.or_(pc.invert(on_surface), late)
        pyarrow.parquet.write_table(rows.filter(kept), path)
    source = Events(
        path=tables / "events.parquet",
        items=tables / "items.parquet",
        impressions=tables / "impressions.parquet",
        actions=["click", "save", "hide"],
        positive_actions=["click", "save"],
        tasks=["click", "save", "hide"],
        dense_features=["position"],
        categorical_features=["hour"],
        request_features=["hour"],
        item_attributes=["topic"],
        validation_start=f"{datetime.fromtimestamp(validation, UTC):%Y-%m-%d}",
        test_start=f"{datetime.fromtimestamp(test, UTC):%Y-%m-%d}",
    )
    prepared(source, out)
    shutil.rmtree(tables)
    return out
