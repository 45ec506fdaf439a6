"""The model that is timed as it is served: the paper's shapes; random weights cost as much as trained ones."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.embeddings.specs import IdTable
from pinfm.inference.export import DENSE_DTYPES, save_module
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.inference.requests.random import random_inputs
from pinfm.model.config import ModelConfig, RankerConfig, TowerConfig
from pinfm.model.ranking.joint import build_model
from pinfm.model.schema import Feature, InputSchema
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES

CONFIG = ModelConfig(
    tower=TowerConfig(num_layers=6, dim=256, num_heads=8, out_dim=256, dropout=0.0),
    ranker=RankerConfig(interaction="dcn_v2", over_hidden=(512, 256)),
)
SCHEMA = InputSchema(
    actions=("click", "save", "hide"),
    positive_actions=("click", "save"),
    surfaces=("home", "search"),
    tasks=("click", "save", "hide"),
    features=(
        Feature(name="author", kind="categorical", scope="candidate"),
        Feature(name="country", kind="categorical", scope="request"),
        Feature(name="hour", kind="dense", scope="request"),
        Feature(name="duration", kind="dense", scope="candidate"),
    ),
)
NUM_HASHES, TABLE_DIM, FEATURE_DIM, FEATURE_ROWS = 8, 32, 32, 100_000
Inputs = dict[str, Tensor]


class Tables(NamedTuple):
    """What modules of one schema share."""

    items: ServedTable
    features: dict[str, ServedTable]


def random_tables(schema: InputSchema, rows: int) -> Tables:
    """Tables with rows as new ones are.

    Args:
        schema: names the features.
        rows: of each item table.
    """
    items = random_table(IdTable(name="item", num_hashes=NUM_HASHES, rows=rows, dim=TABLE_DIM), ITEM_TABLES)
    names = ["user_id", *(f.name for f in schema.features if f.kind == "categorical")]
    features = {
        name: random_table(IdTable(name=name, num_hashes=2, rows=FEATURE_ROWS, dim=FEATURE_DIM // 2), FEATURE_TABLES)
        for name in names
    }
    return Tables(items, features)


def random_table(table: IdTable, collection: str) -> ServedTable:
    """A table with rows as new ones are."""
    served = ServedTable(table, "fp32", collection)
    for name in served.names:
        served.place(name, torch.empty(table.rows, table.dim).uniform_(*init_range(table)))
    return served


def scoring_module(
    config: ModelConfig, schema: InputSchema, tables: Tables, events: int, dtype: torch.dtype
) -> ScoringModule:
    """A module as `pinfm export` makes it.

    Args:
        config: of the model.
        schema: its features.
        tables: theirs.
        events: of the longest history.
        dtype: of its dense part.
    """
    model = build_model(config, schema, tables.items.dim, FEATURE_DIM)
    checks = InputChecks(input_columns(schema), events)
    return ScoringModule(model, tables.items, tables.features, schema, checks, dtype).eval()


def write_files(
    config: ModelConfig, tables: Tables, events: int, folder: Path
) -> tuple[ScoringModule, dict[str, Path]]:
    """A module in fp32, its file, and the file of one like it in bf16.

    Args:
        config: of the model.
        tables: of SCHEMA.
        events: of the longest history.
        folder: for the files.
    """
    modules = {name: scoring_module(config, SCHEMA, tables, events, dtype) for name, dtype in DENSE_DTYPES.items()}
    files = {f"exported, {name}": folder / f"{name}.pt" for name in modules}
    for module, path in zip(modules.values(), files.values(), strict=True):
        save_module(module, path)
    return modules["fp32"], files


def random_request(events: int, candidates: int, schema: InputSchema = SCHEMA) -> Inputs:
    """The inputs of one request with ids that have not been seen before."""
    return random_inputs(input_columns(schema), events, candidates)
