"""The model folder: `scoring.pt`, `signature.json`, `manifest.json`, maybe `tables/`; and `load`, to score from it.

`scoring.crc32` is for hosts that read no JSON: libtorch does not notice that a file of weights was changed.
"""

import json
from collections.abc import Iterator, Sequence
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
from pinfm.inference.requests.frames import converted, retrieval_columns, to_inputs, to_retrieve, written_ids
from pinfm.inference.signature import Signature, require_unchanged, sha256
from pinfm.inference.tables import TableFile, place_tables

if TYPE_CHECKING:
    from pinfm.inference.aoti.packages import Packages
    from pinfm.inference.encoded import Encoded
    from pinfm.inference.index.retrieve import Features, Retriever

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

    @property
    def has_tower(self) -> bool:
        """Whether it makes vectors of users and items; a model of an older pinfm makes none."""
        return bool(getattr(self.module, "has_tower", False))

    @property
    def retrieval_columns(self) -> Sequence[Column]:
        """What `retrieve` reads of requests.

        Raises:
            UserError: there is no index, or it is of another model.
        """
        return [*retrieval_columns(self.columns), *self._retriever.asked_columns]

    @cached_property
    def _retriever(self) -> "Retriever":
        from pinfm.inference.index.retrieve import Retriever

        return Retriever(self.module, self.folder, self.columns)

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

    def retrieval_inputs(self, requests: pd.DataFrame, first_row: int = 0) -> dict[str, Tensor]:
        """`inputs` of retrieval: histories, and when each request is made.

        Args:
            requests: one row per request; of longer histories the newest events are taken.
            first_row: number of the frame's first row, where the frame is a piece of a file.

        Raises:
            UserError: see `inputs`.
        """
        require_own_threads()
        return to_retrieve(requests, self.columns, self._checks, first_row)

    @torch.no_grad()
    def retrieve(self, requests: pd.DataFrame, k: int = 100, batch_size: int = 256, first_row: int = 0) -> pd.DataFrame:
        """Finds the items of the model's index that each user is nearest to, but for those of the history.

        Args:
            requests: one row per request: the columns `history_*` and `request_timestamp`; `exclude_item_id`, lists of
                more items that are not to be found, and `filter_ATTRIBUTE`, lists of the only values that items may
                have, where there are such columns. An empty list excludes nothing and lets everything through.
            k: items wanted for each request; fewer are found where no more are left.
            batch_size: requests at a time; does not change what is found.
            first_row: number of the frame's first row, where the frame is a piece of a file.

        Returns:
            One row per item found, best first: `request` (the row of `requests`), `item_id` as the log writes it, and
            `inner_product`.

        Raises:
            UserError: there is no index, or it is of another model; k is below 1; or as `score`.

        Example:
            found = load("model").retrieve(pd.read_parquet("requests.parquet"), k=500)
        """
        return pd.concat(
            (frame for _, _, _, frame in self._found(requests, k, batch_size, first_row)), ignore_index=True
        )

    @torch.no_grad()
    def recommend(
        self,
        requests: pd.DataFrame,
        k: int = 100,
        features: "Features | None" = None,
        batch_size: int = 256,
        first_row: int = 0,
    ) -> pd.DataFrame:
        """Retrieves, and scores what was found against the same encoding of each history.

        Args:
            requests: as of `retrieve`, with the model's other columns of requests.
            k: items retrieved for each request.
            features: makes of a frame `request`, `item_id` one with the model's columns of candidates, in its rows'
                order; what it leaves out comes from the items table of the index.
            batch_size: requests at a time; does not change the scores.
            first_row: number of the frame's first row, where the frame is a piece of a file.

        Returns:
            What `retrieve` gives, with a probability per task.

        Raises:
            UserError: as `retrieve` and `score`, or nobody knows a column of the candidates.

        Example:
            ranked = load("model").recommend(requests, k=500).sort_values(["request", "click"], ascending=[True, False])
        """
        of_requests = [column for column in self.columns if column.scope == "request"]
        parts = []
        row = first_row
        for part, encoded, (lengths, ids), found in self._found(requests, k, batch_size, first_row):
            inputs = converted(part, of_requests, self.max_history, row)
            row += len(part)
            inputs |= self._retriever.candidates(found, ids, features)
            inputs["candidate_lengths"] = lengths
            problem = self._checks.to_score(inputs, encoded.history.lengths, encoded.history.timestamp)
            if problem != "":
                raise UserError(problem)
            scores = self.module.score_encoded(encoded, inputs)
            parts.append(found.assign(**{task: scores[task].numpy() for task in self.tasks}))
        return pd.concat(parts, ignore_index=True)

    def _found(
        self, requests: pd.DataFrame, k: int, batch_size: int, first_row: int
    ) -> Iterator[tuple[pd.DataFrame, "Encoded", tuple[Tensor, Tensor], pd.DataFrame]]:
        """Batch by batch: its requests, their encoding, how many items were found with their ids, and these as rows."""
        require_requests(len(requests), batch_size)
        if k < 1:
            raise UserError(f"k ({k}) must be at least 1.")
        for start in range(0, len(requests), batch_size):
            part = requests.iloc[start : start + batch_size]
            row = first_row + start
            inputs, asked = self.retrieval_inputs(part, row), self._retriever.asked(part, row)
            encoded, seen = self.module.encode(inputs), self._retriever.seen(part, row)
            lengths, ids, products = self._retriever.search(encoded, inputs, seen, asked, k)
            found = self._retriever.frame(lengths, ids, row)
            yield part, encoded, (lengths, ids), found.assign(inner_product=products.numpy())

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
