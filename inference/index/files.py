"""The index of a model folder: `index/`, opened only beside the model that it is of.

MODEL/index/  index.pt (TorchScript)  index.crc32  index.json  items.parquet  parts/*.bin
"""

import json
from pathlib import Path
from typing import Any

import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import MODULE
from pinfm.inference.signature import sha256
from pinfm.inference.tables import TableFile, place_tables

INDEX = "index"
INDEX_MODULE, INDEX_CRC32, INDEX_JSON, ITEMS = "index.pt", "index.crc32", "index.json", "items.parquet"


def open_index(model: Path) -> torch.jit.ScriptModule:
    """The search in a model's catalogue.

    Args:
        model: the model folder.

    Raises:
        UserError: there is no index, it is of another model, or one of its files is not the one that was written.
    """
    folder = model / INDEX
    told = index_json(model)
    if told["model_sha256"] != sha256(model / MODULE):
        raise UserError(
            f"{folder} is of another {MODULE} than {model} has, so its vectors are not this model's; make it again "
            "with `pinfm index`."
        )
    for name, digest in told["sha256"].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise UserError(f"{folder / name} is missing or was changed; make the index again with `pinfm index`.")
    module: torch.jit.ScriptModule = torch.jit.load(folder / INDEX_MODULE)
    place_tables(module, folder, [TableFile.from_row(row) for row in module.table_files])
    return module


def index_json(model: Path) -> dict[str, Any]:
    """What a model's index says of itself.

    Raises:
        UserError: there is none.
    """
    path = model / INDEX / INDEX_JSON
    if not path.is_file():
        raise UserError(f"{model} has no index; make one with `pinfm index {model} --items ITEMS.parquet`.")
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(told["model_sha256"], str) or set(told["sha256"]) != {INDEX_MODULE, ITEMS}:
            raise ValueError("not an index")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not what this pinfm writes; make the index again with `pinfm index`.") from error
    return told
