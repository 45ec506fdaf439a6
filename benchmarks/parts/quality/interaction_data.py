"""The datasets that interactions are compared on, each cut to what a hundred and more runs on two cores allow."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.parts.quality import planted
from benchmarks.parts.quality.runs import prepared
from pinfm.train.cli.run_flags import config_from_manifest
from pinfm.train.config import RunConfig
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.recipes import recipe_path


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One of them.

    Args:
        recipe: a shipped one, or a file.
        make: the folder of the files, and the folder to write -> the prepared dataset.
        newest_days: of the training requests that are read.
        in_folder: whether its files are in a folder of the user's.
        claims_task: the task that the paper's claims are looked for in; None for the mean over all of them.
    """

    recipe: str
    make: Callable[[Path | None, Path], Path]
    newest_days: int = 36_500
    in_folder: bool = False
    claims_task: str | None = None


def _movielens(files: Path | None, out: Path) -> Path:
    assert files is not None
    # Most users rate all their films in one sitting; a longer pause would leave them one request and no history.
    return prepared(MovieLens(path=files, request_gap_minutes=1), out)


DATASETS = {
    "kuairand": Dataset(recipe="kuairand", make=lambda _, out: prepared(KuaiRand(), out), newest_days=5),
    "ml1m_ranking": Dataset(recipe="ml1m_ranking", make=_movielens, newest_days=12, in_folder=True),
    "planted": Dataset(
        recipe=str(planted.RECIPE), make=lambda _, out: planted.planted_dataset(out), claims_task="triples"
    ),
}


def config_of(name: str) -> RunConfig:
    """The config of a dataset's runs: its recipe without the tower, for which interactions are all that ranks."""
    dataset = DATASETS[name]
    config = config_from_manifest(yaml.safe_load(recipe_path(dataset.recipe).read_text()))
    return replace(config, use_tower=False, finetune=replace(config.finetune, newest_days=dataset.newest_days))


def prepared_data(name: str, files: Path | None, out: Path) -> Path:
    """The dataset, prepared once below `out`."""
    return DATASETS[name].make(files, out / name / "dataset")


def known_of(name: str, data: Path) -> dict[str, Any]:
    """What is known of a prepared dataset beside its files: the ceilings of the planted world."""
    return {"ceilings": planted.read_ceilings(data)["test"]} if name == "planted" else {}
