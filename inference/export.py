"""`pinfm export`: a fine-tuned run in, a model folder out, checked before it is written."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import torch

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.new_folder import new_folder
from pinfm.embeddings.files.piped import piped
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.inference.artifact import load, write_checksums, write_json
from pinfm.inference.folders import MANIFEST, MODULE, SIGNATURE, exportable_run
from pinfm.inference.module import ScoringModule
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import check_parity
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.inference.tables import TABLES, place_tables
from pinfm.inference.write_tables import write_tables
from pinfm.model.ranking.joint import build_model
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES, REQUESTS, RunFolder
from pinfm.model.stored.weights import read_weights

# What hosts call or read beside `forward`, which freezing would take away.
PRESERVED = ["place", "item_vectors", "table_files", "item_ids"]
DENSE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def export(run_path: Path, out: Path, options: ExportOptions | None = None) -> dict[str, Any]:
    """Exports the newest checkpoint of a fine-tuned run.

    Args:
        run_path: the run folder; it holds real requests with the run's own scores.
        out: the model folder to write; may exist if it is empty.
        options: precisions; all fp32 where None.

    Returns:
        The manifest's `parity`; see `check_parity`.

    Raises:
        UserError: the run can't be exported, or `out` exists.
        ParityError: artefact and run differ by more than the precisions allow; nothing is written.
    """
    run = exportable_run(run_path)
    with new_folder(out) as unfinished:
        return _write(run, unfinished, options or ExportOptions())


def scoring_module(run: RunFolder, options: ExportOptions) -> ScoringModule:
    """The run's dense model from its newest checkpoint, in evaluation mode, with tables that have no rows yet.

    Args:
        run: a fine-tuning run.
        options: precisions.
    """
    items = ServedTable(run.item_table, options.precision, ITEM_TABLES)
    features = {table.name: ServedTable(table, options.precision, FEATURE_TABLES) for table in run.feature_tables}
    model = build_model(run.model, run.schema, items.dim, features["user_id"].dim)
    model.load_state_dict(read_weights(run, model, "objective.model."))
    checks = InputChecks(input_columns(run.schema), run.manifest["config"]["max_history"], clock_start(run))
    return ScoringModule(model, items, features, run.schema, checks, DENSE_DTYPES[options.dense_precision]).eval()


def clock_start(run: RunFolder) -> int:
    """Unix seconds of the first time of training; 0 where the manifest does not tell."""
    splits = (run.manifest.get("dataset") or {}).get("splits", {})
    return int(splits["train"][0]) if "train" in splits else 0


def save_module(module: ScoringModule, path: Path) -> None:
    """Writes a module as TorchScript; from here on it wants no gradient, or hosts without no_grad would keep one."""
    module.requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        # A table that is still to be placed: of no memory torch.jit.save writes nothing and moves on in the file, which
        # no pipe can, and what it throws ends the process. One element's memory is written like any other.
        if not tensor.untyped_storage().nbytes():
            tensor.untyped_storage().resize_(tensor.element_size())
    frozen = torch.jit.freeze(torch.jit.script(module), preserved_attrs=PRESERVED)
    with piped(path) as pipe:
        torch.jit.save(frozen, str(pipe))


def _write(run: RunFolder, folder: Path, options: ExportOptions) -> dict[str, Any]:
    files = write_tables(run, folder, options.precision)
    module = scoring_module(run, options)
    if options.layout == "whole":
        place_tables(module, folder, files)
        shutil.rmtree(folder / TABLES)  # what is mapped stays
        files = []
    module.table_files = [file.to_row() for file in files]
    save_module(module, folder / MODULE)
    del module  # or its tables would be there twice
    columns = input_columns(run.schema)
    write_json(
        folder / SIGNATURE,
        {
            "inputs": [column.to_json() for column in columns],
            "max_history": run.manifest["config"]["max_history"],
            "clock_start": clock_start(run),
            "lengths": ["history_lengths", "candidate_lengths"],
            "tasks": list(run.schema.tasks),
            "outputs": "task -> float32 probabilities, one per candidate",
        },
    )
    manifest: dict[str, Any] = {
        "sha256": write_checksums(folder),
        "tables": [file.to_json() for file in files],
        "layout": options.layout,
        "precision": options.precision,
        "dense_precision": options.dense_precision,
        "versions": {package: version(package) for package in ("pinfm", "torch")},
        "source_run": {
            "path": str(run.path.resolve()),
            "checkpoint": run.latest_checkpoint().name,
            **{key: run.manifest.get(key) for key in ("config", "dataset", "versions", "git", "hardware", "seed")},
        },
    }
    write_json(folder / MANIFEST, manifest)
    parity = check_parity(load(folder), _requests(run.path / REQUESTS), options)
    write_json(folder / MANIFEST, {**manifest, "parity": parity})
    return parity


def _requests(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} can't be read; `pinfm finetune --resume` writes it again.") from error
