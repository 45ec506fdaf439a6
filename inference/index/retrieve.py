"""Requests as pandas frames -> the items that a model's index finds for them, ranked if wanted."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.inference.encoded import Encoded
from pinfm.inference.index.catalogue import vectors
from pinfm.inference.index.files import INDEX, ITEMS, open_index
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.frames import list_values
from pinfm.inference.requests.values import as_array, convert

# Told the frame `request`, `item_id` of what was found, gives a frame of one row for each of its rows.
Features = Callable[[pd.DataFrame], pd.DataFrame]


class Retriever:
    """A model's index, opened.

    Args:
        model: the scoring module.
        folder: the model folder.
        columns: the model's inputs.

    Raises:
        UserError: see `open_index`.
    """

    def __init__(self, model: torch.jit.ScriptModule, folder: Path, columns: Sequence[Column]) -> None:
        self.index = open_index(folder)
        self._model, self._columns = model, columns
        self._items = pd.read_parquet(folder / INDEX / ITEMS)
        self._ids = self.index.ids_V.numpy()

    @property
    def asked_columns(self) -> list[Column]:
        """Columns that requests may have beside those that the model reads."""
        (ids,) = (column.ids for column in self._columns if column.name == "candidate_item_id")
        filters = [Column(name=f"filter_{name}", dtype="int64", scope="candidate") for name in self.index.attributes]
        return [Column(name="exclude_item_id", dtype="int64", scope="candidate", ids=ids), *filters]

    def asked(self, requests: pd.DataFrame, first_row: int) -> dict[str, Tensor]:
        """What these columns say, as the index takes it.

        Raises:
            UserError: a filter of no attribute, or a value that is none.
        """
        columns = {column.name: column for column in self.asked_columns}
        asked: dict[str, Tensor] = {}
        for name in (name for name in requests if str(name).startswith(("exclude_", "filter_"))):
            if name not in columns:
                raise UserError(
                    f"the index takes no column {name!r}, but {', '.join(columns)}; attributes to filter by are named "
                    "by --index-attributes as it is made."
                )
            values = list_values(requests, [columns[name]], first_row)
            lengths = "exclude_lengths" if name == "exclude_item_id" else f"{name}_lengths"
            asked[lengths] = torch.from_numpy(values["candidate_lengths"])
            asked[name] = torch.from_numpy(values[name])
        return asked

    def seen(self, requests: pd.DataFrame, first_row: int) -> tuple[Tensor, Tensor]:
        """How many items each whole history has, and their ids: those that are too old for the model to read too.

        Raises:
            UserError: a value is no id.
        """
        (column,) = (column for column in self._columns if column.name == "history_item_id")
        values = list_values(requests, [column], first_row)
        return torch.from_numpy(values["history_lengths"]), torch.from_numpy(values[column.name])

    def search(
        self,
        encoded: Encoded,
        inputs: dict[str, Tensor],
        seen: tuple[Tensor, Tensor],
        asked: dict[str, Tensor],
        k: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How many items are found for each request, their ids, and their inner products; see `ExactIndex`."""
        vectors_UO = self._model.user_vectors(encoded, inputs)
        # More than there are would only be more than TorchScript's integers hold.
        found: tuple[Tensor, Tensor, Tensor] = self.index(vectors_UO, *seen, asked, min(k, len(self._ids)))
        return found

    def frame(self, lengths: Tensor, ids: Tensor, first_row: int) -> pd.DataFrame:
        """`request` and `item_id`, as the log writes it, of what was found."""
        rows = np.searchsorted(self._ids, ids.numpy())
        requests = first_row + np.repeat(np.arange(len(lengths)), lengths.numpy())
        return pd.DataFrame({"request": requests, "item_id": self._items["item_id"].to_numpy()[rows]})

    def candidates(self, found: pd.DataFrame, ids: Tensor, features: Features | None) -> dict[str, Tensor]:
        """What the model wants to know of the candidates: of the items table, and of `features` before it.

        Raises:
            UserError: nobody knows an input, or a value can't be.
        """
        rows = np.searchsorted(self._ids, ids.numpy())
        told = pd.DataFrame(index=found.index) if features is None else features(found)
        if len(told) != len(found):
            raise UserError(f"features gave {len(told)} rows for {len(found)} candidates; give each its own, in order.")
        inputs = {"candidate_item_id": ids}
        for column in self._columns:
            if column.scope != "candidate" or column.name in inputs:
                continue
            if column.name in told:
                cells = told[column.name]
            elif column.name in self._items:
                cells = self._items[column.name].iloc[rows]
            else:
                raise UserError(
                    f"nobody knows {column.name} of the candidates: it is not in the items table of the index; give it "
                    "by `features`."
                )
            if column.width is None:
                inputs[column.name] = torch.tensor(convert(as_array(cells), column, found["request"].to_numpy()))
            else:
                inputs[column.name] = torch.from_numpy(vectors(cells, column, found["request"].to_numpy()))
        return inputs
