"""`signature.json`: what a model folder takes and gives, read without torch."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import MANIFEST, MODULE, SIGNATURE, require_model
from pinfm.inference.requests.columns import Column, input_columns
from pinfm.model.live_counts import LiveCountsSpec, live_counts_from_json
from pinfm.model.schema import InputSchema


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What an artefact takes and gives.

    Args:
        columns: its inputs.
        tasks: its outputs.
        max_history: newest events of a history that it was trained to read.
        clock_start: Unix seconds of the first time that it was trained on; 0 where nobody knows.
        live_counts: what the counters among its inputs count (docs/live_counts.md); None where none are.
    """

    columns: tuple[Column, ...]
    tasks: tuple[str, ...]
    max_history: int
    clock_start: int = 0
    live_counts: LiveCountsSpec | None = None

    @classmethod
    def of(cls, schema: InputSchema, max_history: int, clock_start: int) -> "Signature":
        """Of a model with this schema."""
        return cls(
            columns=input_columns(schema),
            tasks=schema.tasks,
            max_history=max_history,
            clock_start=clock_start,
            live_counts=schema.live_counts,
        )

    @classmethod
    def read(cls, folder: Path) -> "Signature":
        """Of a model folder.

        Raises:
            UserError: a file is missing, or the signature is not the one that was written.
        """
        require_model(folder)
        require_unchanged(folder, SIGNATURE)
        values = json.loads((folder / SIGNATURE).read_text())
        return cls(
            columns=tuple(Column.from_json(column) for column in values["inputs"]),
            tasks=tuple(values["tasks"]),
            max_history=values["max_history"],
            # Neither of which an older pinfm wrote.
            clock_start=values.get("clock_start", 0),
            live_counts=live_counts_from_json(values.get("live_counts")),
        )

    def to_json(self) -> dict[str, Any]:
        """As signature.json has it."""
        return {
            "inputs": [column.to_json() for column in self.columns],
            "max_history": self.max_history,
            "clock_start": self.clock_start,
            "lengths": ["history_lengths", "candidate_lengths"],
            "tasks": list(self.tasks),
            "outputs": "task -> float32 probabilities, one per candidate",
            "live_counts": None if self.live_counts is None else asdict(self.live_counts),
        }


def require_unchanged(folder: Path, name: str) -> None:
    """Raises UserError where a file of a model folder is not the one that the manifest was written with."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        digests = {file: manifest["sha256"][file] for file in (MODULE, SIGNATURE)}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / MANIFEST} is not what this pinfm writes; export the run again.") from error
    if sha256(folder / name) != digests[name]:
        raise UserError(f"{folder / name} was changed after its export (sha256 differs); export the run again.")


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
