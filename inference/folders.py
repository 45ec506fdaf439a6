"""What export and score read, and where they write; looked at without torch, so that a wrong path is told at once."""

import json
from pathlib import Path
from typing import Any

from pinfm.embeddings.errors import UserError
from pinfm.inference.options import DensePrecision
from pinfm.model.adaptation.config import Adapt
from pinfm.model.stored.run_folder import REQUESTS, RunFolder

# Of a model folder.
MODULE, SIGNATURE, MANIFEST = "scoring.pt", "signature.json", "manifest.json"
# Of a batch; readers of Parquet count in 32 bits.
MOST_REQUESTS = (1 << 31) - 1


def exportable_run(path: Path, adapt: Adapt = "none", dense_precision: DensePrecision = "fp32") -> RunFolder:
    """A run that can be exported.

    Args:
        path: its folder.
        adapt: what the artefact is to do about histories that somebody tampered with.
        dense_precision: that the artefact is to have.

    Raises:
        UserError: it is none, or has no tower where histories are to be adapted, or the tower to be rounded.
    """
    run = RunFolder.open(path)
    if run.kind != "finetune":
        raise UserError(f"{path} is a {run.kind} run, which ranks nothing; export a run of `pinfm finetune`.")
    if not (path / REQUESTS).is_file():
        raise UserError(f"{path} has no {REQUESTS} to check against; let the run finish.")
    if adapt != "none" and not run.model.use_tower:
        raise UserError(
            f"{path} was trained with use_tower: false, so no tower reads histories that --adapt {adapt} could mend; "
            "export it with --adapt none."
        )
    if dense_precision == "int8" and not run.model.use_tower:
        raise UserError(
            f"{path} was trained with use_tower: false, and --dense-precision int8 is of the tower's layers; "
            "export it with --dense-precision fp32."
        )
    return run


def require_model(folder: Path) -> None:
    """Raises UserError where a file of the model folder is missing."""
    for name in (MODULE, SIGNATURE, MANIFEST):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is not a model folder: it has no {name}; write one with `pinfm export`.")


def adaptation_of(folder: Path) -> dict[str, Any]:
    """What a model does about histories: `form`, and its `settings`.

    Raises:
        UserError: signature.json is none.
    """
    try:
        signature = json.loads((folder / SIGNATURE).read_text())
        adaptation: dict[str, Any] = signature.get("adaptation", {"form": "none"})  # which an older pinfm did not write
    except (ValueError, AttributeError) as error:
        raise UserError(f"{folder / SIGNATURE} is not what this pinfm writes; export the run again.") from error
    return adaptation


def require_trust(folder: Path) -> None:
    """Raises UserError where a model does not say how far it trusts events."""
    form = adaptation_of(folder)["form"]
    if form != "trust":
        raise UserError(
            f"{folder} was exported with --adapt {form}, which weighs no events; export the run with --adapt trust."
        )


def require_own_file(out: Path, requests: Path, model: Path, flag: str = "--out") -> None:
    """Raises UserError where a file can't be written to `out`, beside a folder of requests and one of a model."""
    if out.resolve().is_relative_to(model.resolve()):
        raise UserError(f"{flag} {out} is in the model's folder; give a file elsewhere.")
    if (out.exists() and not out.is_file()) or out.resolve().is_relative_to(requests.resolve()):
        raise UserError(f"{flag} ({out}) must be a file of its own, not a folder, a device or the requests.")


def require_batch_size(batch_size: int) -> None:
    """Raises UserError where so many requests can't be scored at a time."""
    if not 1 <= batch_size <= MOST_REQUESTS:
        raise UserError(f"the batch size ({batch_size}) must be at least 1 and at most {MOST_REQUESTS}.")
