"""Events in files of the test's own making, prepared through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pinfm.train.cli.main import main

Prepare = Callable[..., pd.DataFrame]


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
def table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Table:
    return Table(tmp_path, capsys)
