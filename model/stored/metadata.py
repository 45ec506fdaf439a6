"""What a checkpoint says it holds: its `.metadata`, a pickle, read without running what a pickle may name."""

import pathlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    _MEM_FORMAT_ENCODING,
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.serialization import _get_layout

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import METADATA

# All that a checkpoint of ours names; none of them does more than hold values.
_KINDS = (
    *(Metadata, MetadataIndex, StorageMeta, BytesStorageMetadata, ChunkStorageMetadata),
    *(TensorStorageMetadata, TensorProperties, _MEM_FORMAT_ENCODING, _StorageInfo),
    *(_get_layout, torch.Size),
)
_NAMED: dict[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__name__): kind for kind in _KINDS},
    # As Python 3.11 and 3.12 call it, and 3.13.
    **{(module, "PosixPath"): pathlib.PosixPath for module in ("pathlib", "pathlib._local")},
}


def read_metadata(checkpoint: Path) -> Metadata:
    """Reads `.metadata`, and refuses whatever torch.distributed.checkpoint does not write there.

    Raises:
        UserError: it names a class or a function that no checkpoint has, or a file outside of the checkpoint.
    """
    path = checkpoint / METADATA
    with path.open("rb") as file:
        metadata = _OursAlone(path, file).load()
    if not isinstance(metadata, Metadata):
        raise UserError(f"{path} holds no list of a checkpoint's tensors; take another checkpoint, or train again.")
    for stored in (metadata.storage_data or {}).values():
        if Path(stored.relative_path).name != stored.relative_path:
            raise UserError(f"{path} names {stored.relative_path}, outside of its folder; take another checkpoint.")
    return metadata


class _OursAlone(pickle.Unpickler):
    """Looks names up in a list, where pickle would import and run whatever the file says."""

    def __init__(self, path: Path, file: Any) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The class or function of that name, if a checkpoint may hold it."""
        if (module, name) in _NAMED:
            return _NAMED[module, name]
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        raise UserError(
            f"{self._path} names {module}.{name}, which no checkpoint holds, so it is not read; "
            "take another checkpoint, or train again."
        )
