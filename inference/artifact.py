"""The model folder: `scoring.pt`, `signature.json`, `manifest.json`, maybe `tables/`; and `load`, to score from it.

`scoring.crc32` is for hosts that read no JSON: libtorch does not notice that a file of weights was changed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError, require_choice
from pinfm.embeddings.files.sums import crc32_of
from pinfm.embeddings.one_device.forks import require_own_threads
from pinfm.inference.folders import MODULE, SIGNATURE, require_batch_size, require_model
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.frames import to_inputs, written_ids
from pinfm.inference.signature import Signature, require_unchanged, sha256
from pinfm.inference.tables import TableFile, place_tables

if TYPE_CHECKING:
    from pinfm.inference.aoti.packages import Packages

MODULE_CRC32 = "scoring.crc32"


@dataclass(frozen=True)
class Scorer:
    """A loaded artefact.

    Args:
        module: the TorchScript module.
        signature: what it takes and gives.
        folder: where it lies.
        compiled: its dense model, compiled ahead of time; None where the module computes it.
    """

    module: torch.jit.ScriptModule
    signature: Signature
    folder: Path
    compiled: "Packages | None" = None

    @property
    def columns(self) -> Sequence[Column]:
        """Its inputs."""
        return self.signature.columns

    @property
    def tasks(self) -> Sequence[str]:
        """Its outputs."""
        return self.signature.tasks

    @property
    def max_history(self) -> int:
        """Newest events of a history that it was trained to read."""
        return self.signature.max_history

    @property
    def clock_start(self) -> int:
        """Unix seconds of the first time that it was trained on; 0 where nobody knows."""
        return self.signature.clock_start

    @cached_property
    def _checks(self) -> InputChecks:
        return InputChecks(self.columns, self.max_history, self.clock_start)

    def inputs(self, requests: pd.DataFrame, first_row: int = 0) -> dict[str, Tensor]:
        """What the module takes: for hosts without Python, or for a module of your own.

        Args:
            requests: one row per request; of longer histories the newest events are taken.
            first_row: number of the frame's first row, where the frame is a piece of a file.

        Raises:
            UserError: the frame does not fit the signature, or this process was forked from one that has scored.
        """
        require_own_threads()
        return to_inputs(requests, self.columns, self._checks, first_row)

    @torch.no_grad()
    def score(self, requests: pd.DataFrame, batch_size: int = 256, first_row: int = 0) -> pd.DataFrame:
        """Scores every candidate of every request.

        Args:
            requests: one row per request; see `pinfm.inference.requests.frames`.
            batch_size: requests scored at a time; does not change the scores.
            first_row: number of the frame's first row, where the frame is a piece of a file.

        Returns:
            One row per candidate, in order: `request` (the row of `requests`), `item_id` (int64, uint64 or string, as
            the log writes it), and a probability per task.

        Raises:
            UserError: the frame is empty or does not fit the signature, the batch size is below 1, or this process was
                forked from one that has scored.

        Example:
            scores = load("model").score(pd.read_parquet("requests.parquet"))
        """
        require_requests(len(requests), batch_size)
        (ids,) = (column for column in self.columns if column.name == "candidate_item_id")
        parts = []
        for start in range(0, len(requests), batch_size):
            part = requests.iloc[start : start + batch_size]
            inputs = self.inputs(part, first_row + start)
            outputs = (self.compiled or self.module)(inputs)
            rows = first_row + np.repeat(np.arange(start, start + len(part)), inputs["candidate_lengths"].numpy())
            scores = {task: outputs[task].numpy() for task in self.tasks}
            item_ids = written_ids(part[ids.name], inputs[ids.name], ids)
            parts.append(pd.DataFrame({"request": rows, "item_id": item_ids, **scores}))
        return pd.concat(parts, ignore_index=True)


def load(path: str | Path, format: Literal["torchscript", "aoti"] = "torchscript") -> Scorer:
    """Loads a model folder.

    Args:
        path: the folder.
        format: `aoti` scores by compiled packages, of a folder that was exported with them (docs/aoti.md).

    Raises:
        UserError: a file is missing, or is not the one that was written; there are no packages, or they were compiled
            for another processor.
    """
    require_choice("format", format, Literal["torchscript", "aoti"])
    folder = Path(path)
    require_model(folder)
    require_unchanged(folder, MODULE)
    signature = Signature.read(folder)
    module = torch.jit.load(folder / MODULE)
    if not hasattr(module, "table_files"):
        raise UserError(
            f"{folder} was exported by an older pinfm, which did not list its tables; export the run again."
        )
    # What the manifest says of tables is for readers; this is under its checksum.
    place_tables(module, folder, [TableFile.from_row(row) for row in module.table_files])
    if format == "torchscript":
        return Scorer(module, signature, folder)

    from pinfm.inference.aoti.load import load_packages  # reads the compiler's modules, which takes a second

    return Scorer(module, signature, folder, load_packages(folder, module))


def require_requests(count: int, batch_size: int) -> None:
    """Raises UserError where nothing could be scored."""
    require_batch_size(batch_size)
    if count < 1:
        raise UserError("there are no requests to score; give a file with at least one row.")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes indented JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n")


def write_checksums(folder: Path) -> dict[str, str]:
    """Writes `scoring.crc32`, and tells the SHA-256 of module and signature for the manifest, in hex."""
    (folder / MODULE_CRC32).write_text(f"{crc32_of(folder / MODULE):08x}\n")
    return {name: sha256(folder / name) for name in (MODULE, SIGNATURE)}
