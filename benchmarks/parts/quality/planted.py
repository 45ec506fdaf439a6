"""The planted world as a prepared dataset, with the AUC that a model of each order can have on it."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch

from benchmarks.parts.quality.planted_world import TASKS, Shown, World, WorldConfig
from benchmarks.parts.quality.runs import prepared
from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.simulated.items import DAY, START
from pinfm.train.metrics.ranking import auc

# What trains on it: the value of --config.
RECIPE = Path(__file__).with_name("planted.yaml")
SURFACE = "home"
DENSE = ("request_dense", "item_dense")


def planted_dataset(out: Path, config: WorldConfig | None = None) -> Path:
    """Prepares a planted world, once, and writes its ceilings beside it.

    Args:
        out: the dataset's folder.
        config: which world; the default one by default.

    Returns:
        `out`.

    Raises:
        UserError: another world stands there.
    """
    config = WorldConfig() if config is None else config
    path = ceilings_path(out)
    if not path.exists():
        shown = World(config).show()
        with tempfile.TemporaryDirectory() as folder:
            prepared(_source(shown, config, Path(folder)), out)
        values = ceilings(shown, PreparedDataset.open(out).info.splits)
        path.write_text(json.dumps({"world": asdict(config), "ceilings": values}, indent=2) + "\n")
    elif json.loads(path.read_text())["world"] != json.loads(json.dumps(asdict(config))):
        raise UserError(f"{out} holds another planted world, whose settings are in {path}; remove both.")
    return out


def ceilings_path(dataset: Path) -> Path:
    """Where the ceilings of a dataset stand."""
    return dataset.with_name(f"{dataset.name}.ceilings.json")


def read_ceilings(dataset: Path) -> dict[str, dict[str, dict[str, float]]]:
    """What `ceilings` found when the dataset was made."""
    values: dict[str, dict[str, dict[str, float]]] = json.loads(ceilings_path(dataset).read_text())["ceilings"]
    return values


def ceilings(shown: Shown, splits: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, dict[str, float]]]:
    """The AUC of the truth and of its projections, on the very impressions that models are evaluated on.

    The projection on an order is what is left of the log-odds without the terms above it: no function of that order is
    nearer to them in the mean square. It is not quite the best for AUC: where the factors are large, so is what the
    missing terms add, and a model of that order that is fitted for the log loss, and so holds back there, has more,
    though less than 0.01 in the default world.

    Returns:
        split -> task -> `first_order`, `second_order` and `bayes` (the truth) -> AUC. Of `pairs` the last two are one.
    """
    # AUC takes probabilities, and knows nothing but their order.
    score_N3 = torch.from_numpy(1 / (1 + np.exp(-shown.log_odds_N3)))
    click_NK = torch.from_numpy(shown.click_NK)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for split in ("validation", "test"):
        start, end = splits[split]
        kept_N = torch.from_numpy((start <= shown.timestamp_N) & (shown.timestamp_N < end))
        found[split] = {}
        for k, (task, highest) in enumerate(TASKS.items()):
            orders = {"first_order": 1, "second_order": 2, "bayes": highest}
            found[split][task] = {
                name: auc(score_N3[kept_N, order - 1], click_NK[kept_N, k]) for name, order in orders.items()
            }
    return found


def _source(shown: Shown, config: WorldConfig, folder: Path) -> Events:
    """Writes the world as anybody's log, one event a click."""
    request_fields = [f"request_{f + 1}" for f in range(config.num_request_fields)]
    fields = [*request_fields, *(f"item_{f + 1}" for f in range(config.num_item_fields))]
    shared = {"user_id": shown.user_N, "item_id": shown.item_N}
    impressions: dict[str, Any] = {
        "request_id": shown.request_N,
        "timestamp": shown.timestamp_N,
        **shared,
        **dict(zip(TASKS, shown.click_NK.T, strict=True)),
        # A value of 0 would be a missing one.
        **dict(zip(fields, 1 + shown.field_NF.T, strict=True)),
        **dict(zip(DENSE, shown.dense_N2.T, strict=True)),
    }
    clicked_E, task_E = np.nonzero(shown.click_NK)
    events = {name: column_N[clicked_E] for name, column_N in shared.items()}
    events |= {"timestamp": shown.timestamp_N[clicked_E] + 1, "action": np.array(list(TASKS))[task_E]}
    # Of events alone: the surface of a request would be one feature more than the world has.
    events["surface"] = np.full(len(clicked_E), SURFACE)
    items = {"item_id": np.arange(config.num_items), "created_at": np.full(config.num_items, START - DAY)}
    paths = {name: folder / f"{name}.parquet" for name in ("events", "impressions", "items")}
    for name, columns in (("events", events), ("impressions", impressions), ("items", items)):
        pyarrow.parquet.write_table(pyarrow.table(columns), paths[name])
    return Events(
        path=paths["events"],
        actions=list(TASKS),
        impressions=paths["impressions"],
        items=paths["items"],
        tasks=list(TASKS),
        dense_features=list(DENSE),
        categorical_features=fields,
        request_features=[*request_fields, DENSE[0]],
    )
