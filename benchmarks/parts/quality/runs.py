"""Runs of `pinfm` verbs that are made once, however often a benchmark is called."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pinfm.embeddings.errors import UserError
from pinfm.train.auto import rules
from pinfm.train.auto.choices import choose
from pinfm.train.auto.facts import Facts
from pinfm.train.cli.main import main
from pinfm.train.cli.run_flags import AUTO
from pinfm.train.data.info import DatasetInfo
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.tables import Source
from pinfm.train.recipes import recipe_path

T = TypeVar("T")


def prepared(source: Source, out: Path, num_buckets: int | None = None, live_counts: Sequence[str] = ()) -> Path:
    """A source's dataset, prepared once."""
    if not (out / "dataset.json").exists():
        prepare(source, out, PrepareOptions(num_buckets=num_buckets, live_counts=list(live_counts)))
    return out


def edition(recipe: str, data: Path | None = None) -> str:
    """`ml1m@1a2b3c4d`: a recipe's name and the beginning of a SHA-256, which every change of its settings changes.

    Another default of a setting that a recipe's file does not name is not seen; the revision of a run tells that.

    Args:
        recipe: the value of --config.
        data: the dataset that `auto` chooses for; without it, its edition is that of all of its rules.
    """
    if recipe != AUTO:
        path = recipe_path(recipe)
        return _edition(path.stem, path.read_bytes())
    if data is None:
        return _edition(AUTO, Path(rules.__file__).read_bytes())
    choices = choose(rules.RULES, Facts.of(DatasetInfo.read(data)), {})
    return _edition(AUTO, json.dumps({choice.setting: choice.value for choice in choices}).encode())


def _edition(name: str, contents: bytes) -> str:
    return f"{name}@{hashlib.sha256(contents).hexdigest()[:8]}"


@dataclass(frozen=True)
class Command:
    """What makes a run.

    Args:
        verb: `pretrain` or `finetune`.
        recipe: the value of --config.
        words: its other flags, but for --out and --resume.
    """

    verb: str
    recipe: str
    words: tuple[object, ...]

    def told(self) -> str:
        """On one line, without paths: they may be written in several ways, and what they lead to is made here too."""
        words = (str(word) for word in self.words if not isinstance(word, Path))
        return " ".join([self.verb, edition(self.recipe, self._data()), *words])

    def _data(self) -> Path | None:
        if "--data" not in self.words:
            return None
        return Path(str(self.words[self.words.index("--data") + 1]))


class Runs:
    """Run folders below one folder; a run that is finished is not made again, an interrupted one goes on.

    Args:
        out: the folder.
        in_process: run the verbs in this process, one after the other, which saves each the imports.
    """

    def __init__(self, out: Path, in_process: bool = False) -> None:
        self.out, self._in_process = out, in_process

    def folder(self, name: str) -> Path:
        """Where a run stands."""
        return self.out / "runs" / name

    def train(self, name: str, command: Command) -> Path:
        """Runs the verb with one thread, its log in OUT/logs.

        Args:
            name: of the run.
            command: what makes it.

        Raises:
            UserError: a run of this name was finished by another command, or under another edition of the recipe.
        """
        run = self.folder(name)
        finished = run / "finished"
        if not finished.exists():
            resume = ["--resume"] if (run / "manifest.json").exists() else []
            self._pinfm(name, [command.verb, "--config", command.recipe, *command.words, "--out", run, *resume])
            finished.write_text(command.told() + "\n")
        elif not self.made(name, command):
            raise UserError(f"{run} was made by other settings ({finished}, not {command.told()!r}); remove it.")
        return run

    def made(self, name: str, command: Command) -> bool:
        """Whether a run was finished, and by this command."""
        finished = self.folder(name) / "finished"
        return finished.exists() and finished.read_text().strip() == command.told()

    def evaluate(self, name: str, data: Path, split: str, retrieval: bool = False) -> dict[str, Any]:
        """What `pinfm evaluate` reports of a run, kept beside it.

        Args:
            name: of the run.
            data: the dataset.
            split: of it.
            retrieval: whether a fine-tuned run's tower is asked for next items too, which takes longer.
        """
        report = self.folder(name) / f"{split}{'-retrieval' if retrieval else ''}.json"
        if not report.exists():
            words = ["evaluate", self.folder(name), "--data", data, "--split", split, "--report", report]
            words += ["--retrieval", str(retrieval).lower()]
            self._pinfm(name, words)
        values: dict[str, Any] = json.loads(report.read_text())
        return values

    def seeds(self, row: str, command_of: Callable[[int], Command]) -> list[int]:
        """The seeds of a row whose run, named ROW-SEED, was finished by its command; others are told and left out.

        Args:
            row: its name.
            command_of: seed -> what makes the run today.
        """
        names = (path.parent.name for path in self.out.glob(f"runs/{row}-*/finished"))
        found = sorted(int(name.removeprefix(f"{row}-")) for name in names)
        made = [seed for seed in found if self.made(f"{row}-{seed}", command_of(seed))]
        for seed in sorted(set(found) - set(made)):
            print(f"made by other settings, so left out: {self.folder(f'{row}-{seed}')}")
        return made

    def revision(self, row: str, seed: int) -> Any:
        """What the manifest of the run ROW-SEED says of the source tree that made it."""
        return json.loads((self.folder(f"{row}-{seed}") / "manifest.json").read_text())["git"]

    def _pinfm(self, name: str, words: Iterable[object]) -> None:
        if self._in_process:
            status = main([*map(str, words)])
            if status:
                raise UserError(f"{name} ended with status {status}; what it said stands above.")
            return
        log = self.out / "logs" / f"{name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            subprocess.run(
                [sys.executable, "-m", "pinfm.train.cli.main", *map(str, words)],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=file,
                stderr=file,
                check=True,
            )


def in_parallel(jobs: int, work: Callable[[T], object], items: Sequence[T]) -> None:
    """Calls `work` for every item, so many at a time; the first that fails stops those that have not begun."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
