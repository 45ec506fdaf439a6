"""Logs of a test's own making: a tiny one, in which it spoils a value, and files that go through the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pinfm.train.cli.main import main
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


class Table:
    """A folder in which a test writes files, and what `pinfm prepare events` makes of one of them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        self.folder = folder
        self._capsys = capsys

    def write(self, name: str, text: str | bytes) -> Path:
        """Writes a file, and the folders that it stands in."""
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def prepare(self, path: str, *flags: str) -> pd.DataFrame:
        """Prepares a file; returns its events with actions and surfaces by name, as they stand in the dataset."""
        assert self._run(path, *flags) == 0, self._capsys.readouterr().err
        self.info = json.loads((self.folder / "out" / "dataset.json").read_text())
        events = pd.read_parquet(self.folder / "out" / "events" / "bucket-00000.parquet")
        for column, names in (("action", "actions"), ("surface", "surfaces")):
            vocabulary = [None, *self.info["schema"][names]]
            events[column] = [vocabulary[code] for code in events[column]]
        return events

    def printed(self) -> str:
        """What was printed since this was last asked for."""
        return self._capsys.readouterr().out

    def refusal(self, path: str, *flags: str) -> str:
        """The one sentence with which a file is refused."""
        assert self._run(path, *flags) == 2
        said = self._capsys.readouterr().err.strip()
        assert said.startswith("pinfm: ")
        assert "\n" not in said
        assert not (self.folder / "out").exists()
        return said

    def _run(self, path: str, *flags: str) -> int:
        actions = [] if any(flag.startswith("--action") for flag in flags) else ["--actions", "[click, save]"]
        out = ["--out", str(self.folder / "out"), "--num-buckets", "1"]
        return main(["prepare", "events", str(self.folder / "in" / path), *actions, *flags, *out])


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


@pytest.fixture
def table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Table:
    return Table(tmp_path, capsys)
