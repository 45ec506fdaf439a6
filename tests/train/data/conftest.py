"""A tiny log of one's own, in which a test spoils one value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.events import Events

Spoil = Callable[[pd.DataFrame], pd.DataFrame | None]


class Logs:
    """Three tables in a folder, and what `prepare` makes of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        hours = [3600 * hour for hour in range(1, 11)]
        self.tables = {
            "events": pd.DataFrame(
                {
                    "user_id": [1, 2] * 5,
                    "timestamp": hours,
                    "action": ["click", "save"] * 5,
                    "surface": ["home"] * 8 + ["late", None],
                    "item_id": range(100, 110),
                }
            ),
            "impressions": pd.DataFrame(
                {
                    "request_id": [r for r in range(10) for _ in range(2)],
                    "user_id": [u for u in [1, 2] * 5 for _ in range(2)],
                    "timestamp": [t for t in hours for _ in range(2)],
                    "surface": "home",
                    "item_id": [100 + r + k for r in range(10) for k in (3, 0)],
                    "click": [True, False] * 10,
                    "price": [1.5, 2.0] * 10,
                    "shop": [7, 8] * 10,
                    "hour": [r for r in range(10) for _ in range(2)],
                }
            ),
            "items": pd.DataFrame({"item_id": range(100, 108), "created_at": 10, "brand": 5}),
        }

    def write(self, kind: str = "csv", **spoil: Spoil) -> None:
        """Writes the tables, each first passed through the function of its name (which may return None: in place)."""
        for name, table in self.tables.items():
            if name in spoil:
                table = table.astype(object) if kind == "csv" else table.copy()
                changed = spoil[name](table)
                table = table if changed is None else changed
            path = self.folder / f"{name}.{kind}"
            table.to_parquet(path) if kind == "parquet" else table.to_csv(path, index=False)

    def source(self, kind: str = "csv", **fields: Any) -> Events:
        """The source over the written tables."""
        return Events(
            **{
                "path": self.folder / f"events.{kind}",
                "actions": ["click", "save"],
                "positive_actions": ["save"],
                "impressions": self.folder / f"impressions.{kind}",
                "items": self.folder / f"items.{kind}",
                "tasks": ["click"],
                "dense_features": ["price"],
                "categorical_features": ["shop", "hour"],
                "request_features": ["hour"],
                "item_attributes": ["brand"],
            }
            | fields
        )

    def prepare(self, kind: str = "csv", on_bad_rows: str = "fail", **fields: Any) -> PreparedDataset:
        """Prepares the written tables in the folder `out`."""
        options = PrepareOptions(on_bad_rows=on_bad_rows, num_buckets=2)  # type: ignore[arg-type]
        prepare(self.source(kind, **fields), self.folder / "out", options)
        return PreparedDataset.open(self.folder / "out")


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)
