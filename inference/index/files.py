"""The index of a model folder: `index/`, opened only beside the model that it is of.

MODEL/index/  index.pt (TorchScript)  index.crc32  index.json  items.parquet  parts/*.bin
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import MODULE
from pinfm.inference.index.search import ExactIndex
from pinfm.inference.signature import sha256
from pinfm.inference.tables import TableFile, place_tables

if TYPE_CHECKING:
    from pinfm.inference.index.lists import ListIndex

INDEX = "index"
INDEX_MODULE, INDEX_CRC32, INDEX_JSON, ITEMS = "index.pt", "index.crc32", "index.json", "items.parquet"
LISTS = "lists.faiss"
# The file that searches, by the kind of the index.
SEARCHES = {"exact": INDEX_MODULE, "faiss": LISTS}


def open_index(model: Path) -> "torch.jit.ScriptModule | ListIndex":
    """The search in a model's catalogue.

    Args:
        model: the model folder.

    Raises:
        UserError: there is no index, it is of another model, one of its files is not the one that was written, or it
            takes FAISS, which is not installed.
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
    if told["kind"] == "faiss":
        return _lists(folder, told)
    module: torch.jit.ScriptModule = torch.jit.load(folder / INDEX_MODULE)
    place_tables(module, folder, [TableFile.from_row(row) for row in module.table_files])
    return module


def _lists(folder: Path, told: dict[str, Any]) -> "ListIndex":
    from pinfm.inference.index.lists import ListIndex, load_lists

    catalogue = ExactIndex(told["attributes"], torch.tensor(told["mean_user_vector"]), 0)
    place_tables(catalogue, folder, [TableFile(**file) for file in told["files"]])
    return ListIndex(catalogue, load_lists(folder / LISTS), told["probes"])


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
        if not isinstance(told["model_sha256"], str) or set(told["sha256"]) != {SEARCHES[told["kind"]], ITEMS}:
            raise ValueError("not an index")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not what this pinfm writes; make the index again with `pinfm index`.") from error
    return told
