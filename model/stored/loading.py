"""Reading a checkpoint with torch.distributed.checkpoint, without running anything that it holds."""

import io
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed._shard.sharded_tensor.api import ShardedTensor
from torch.distributed.checkpoint._nested_dict import flatten_state_dict, set_element  # type: ignore[attr-defined]
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.metadata import read_metadata


def load_values(values: dict[str, Any], checkpoint: Path, no_dist: bool = False) -> None:
    """Fills a state dict from a checkpoint, at whatever number of ranks wrote it.

    Args:
        values: tensors are filled in place, other values replaced.
        checkpoint: which has been checked, see `require_unchanged`.
        no_dist: this process reads alone.

    Raises:
        UserError: a tensor was saved in a type whose values the one to be filled can't all hold.
    """
    metadata = read_metadata(checkpoint)
    _require_types(values, checkpoint, metadata)
    reader = _Reader(checkpoint, metadata)
    dcp.load(values, storage_reader=reader, planner=_Planner(), no_dist=no_dist)


def _require_types(values: dict[str, Any], checkpoint: Path, metadata: Metadata) -> None:
    """torch casts without a word: 1.7 becomes 1 where whole numbers are wanted."""
    for name, wanted in flatten_state_dict(values)[0].items():
        stored = metadata.state_dict_metadata.get(name)
        if not isinstance(stored, TensorStorageMetadata) or not isinstance(wanted, torch.Tensor):
            continue
        saved, filled = stored.properties.dtype, _type_of(wanted)
        if torch.promote_types(saved, filled) != filled or saved.is_floating_point != filled.is_floating_point:
            raise UserError(
                f"{checkpoint} holds {name} as {saved}, which {filled} can't hold; "
                "use the precision that the run was trained with."
            )


def _type_of(tensor: torch.Tensor) -> torch.dtype:
    if isinstance(tensor, ShardedTensor):  # which warns of its age at each look at an attribute
        of_shards: torch.dtype = tensor.metadata().tensor_properties.dtype
        return of_shards
    return tensor.dtype


def _array_globals() -> list[Any]:
    """What an array of int64 is pickled by, told by one: this package needs torch alone."""
    array = torch.empty(0, dtype=torch.int64).numpy()
    return [array.__reduce__()[0], type(array), *type(array.dtype).__mro__[:-1], bytes]


class _Reader(dcp.FileSystemReader):
    """Has read `.metadata` itself."""

    def __init__(self, checkpoint: Path, metadata: Metadata) -> None:
        super().__init__(checkpoint)
        self._metadata = metadata

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What was read."""
        return self._metadata


class _Planner(dcp.DefaultLoadPlanner):
    """Reads what is no tensor, such as the step, as data: the default one unpickles anything."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Puts a value into the state dict."""
        # Ids that wait for a row stand in arrays.
        with torch.serialization.safe_globals(_array_globals()):
            loaded = torch.load(value, weights_only=True)
        set_element(self.original_state_dict, self.mappings[read_item.dest_index.fqn], loaded)
