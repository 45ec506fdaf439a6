"""`pinfm export`: a fine-tuned run in, a model folder out, checked before it is written."""

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import torch
from torchmetrics.functional.classification import binary_auroc

from pinfm.embeddings.errors import UserError, require_at_least
from pinfm.embeddings.new_folder import new_folder
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.embeddings.specs import ServedPrecision
from pinfm.inference.artifact import MANIFEST, MODULE, SIGNATURE, Scorer, load, sha256, write_json
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests import input_columns
from pinfm.inference.tables import TABLES, place_tables
from pinfm.inference.write_tables import write_tables
from pinfm.model.ranking.joint import build_model
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES, REQUESTS, RunFolder

DENSE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Of a probability. In bf16 a logit of 4 is known to 1/64, and the layers below it add their part.
MAX_ABS_DIFF = {"fp32": 1e-5, "bf16": 2e-2}
MAX_ABS_DIFF_OF_TABLES = {"fp32": 0.0, "fp16": 1e-2, "int8": 5e-2, "int4": 0.3}
# Of a task, where the tables are rounded.
MAX_AUC_LOSS = 0.002


class ParityError(UserError):
    """The exported module and the run give different scores."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a run is exported.

    Args:
        precision: of the tables.
        dense_precision: `fp32` or `bf16`, of everything else.
        layout: `whole` puts the tables into the TorchScript file; `apart` into files of their own, which are mapped.
        max_auc_loss: what rounded tables may cost a task on the kept requests.
    """

    precision: ServedPrecision = "fp32"
    dense_precision: Literal["fp32", "bf16"] = "fp32"
    layout: Literal["whole", "apart"] = "whole"
    max_auc_loss: float = MAX_AUC_LOSS

    def __post_init__(self) -> None:
        require_at_least("", 0, max_auc_loss=self.max_auc_loss)


def export(run_path: Path, out: Path, options: ExportOptions | None = None) -> dict[str, Any]:
    """Exports the newest checkpoint of a fine-tuned run.

    Args:
        run_path: the run folder; it holds real requests with the run's own scores.
        out: the model folder to write; may exist if it is empty.
        options: precisions; all fp32 where None.

    Returns:
        The manifest's `parity`: {"max_abs_diff", "rows", "auc_change": {task: AUC of the artefact - AUC of the run}}.

    Raises:
        UserError: the run can't be exported, or `out` exists.
        ParityError: artefact and run differ by more than the precisions allow; nothing is written.
    """
    run = RunFolder.open(run_path)
    if run.kind != "finetune":
        raise UserError(f"{run_path} is a {run.kind} run, which ranks nothing; export a run of `pinfm finetune`.")
    if not (run_path / REQUESTS).is_file():
        raise UserError(f"{run_path} has no {REQUESTS} to check against; let the run finish.")
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
    model.load_state_dict(run.weights(model, "objective.model."))
    return ScoringModule(model, items, features, run.schema, DENSE_DTYPES[options.dense_precision]).eval()


def save_module(module: ScoringModule, path: Path) -> None:
    """Writes a module as TorchScript."""
    frozen = torch.jit.freeze(torch.jit.script(module), preserved_attrs=["place", "item_vectors", "table_files"])
    torch.jit.save(frozen, str(path))


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
            "lengths": ["history_lengths", "candidate_lengths"],
            "tasks": list(run.schema.tasks),
            "outputs": "task -> float32 probabilities, one per candidate",
        },
    )
    manifest: dict[str, Any] = {
        "sha256": {name: sha256(folder / name) for name in (MODULE, SIGNATURE)},
        "tables": [file.to_json() for file in files],
        "layout": options.layout,
        "precision": options.precision,
        "dense_precision": options.dense_precision,
        "versions": {package: version(package) for package in ("pinfm", "torch")},
        "source_run": {
            "path": str(run.path.resolve()),
            "checkpoint": run.latest_checkpoint().name,
            **{key: run.manifest[key] for key in ("config", "dataset", "versions", "git", "hardware", "seed")},
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


def check_parity(scorer: Scorer, requests: pd.DataFrame, options: ExportOptions) -> dict[str, Any]:
    """Compares an artefact with the scores that the run itself gave.

    Args:
        scorer: the artefact.
        requests: real requests with `expected_{task}` and `label_{task}` columns.
        options: what it was exported with.

    Returns:
        {"max_abs_diff": largest absolute difference of a probability, "rows": candidates compared, "auc_change": by
        task, None where only one class is there}.

    Raises:
        UserError: the requests have no labels.
        ParityError: probabilities differ, or a task's AUC falls, by more than the precisions allow.
    """
    for task in scorer.tasks:
        if f"label_{task}" not in requests:
            raise UserError(f"{REQUESTS} of the run has no label_{task}, so an older pinfm made it; fine-tune again.")
    scores = scorer.score(requests)[list(scorer.tasks)].to_numpy()
    expected, labels = (
        np.stack([np.concatenate(requests[f"{kind}_{task}"].to_list()) for task in scorer.tasks], axis=1)
        for kind in ("expected", "label")
    )
    difference = float(np.abs(scores - expected).max())
    limit = MAX_ABS_DIFF[options.dense_precision] + MAX_ABS_DIFF_OF_TABLES[options.precision]
    # Written this way round, a NaN, which numpy's max keeps, is refused too.
    if not difference <= limit:
        raise ParityError(
            f"the exported module differs from the run by {difference:.2e} (limit {limit:.0e}), so nothing was "
            "written; report this with the run's manifest."
        )
    auc_change = {
        task: auc_of(scores[:, i], labels[:, i]) - auc_of(expected[:, i], labels[:, i])
        for i, task in enumerate(scorer.tasks)
        if 0 < labels[:, i].mean() < 1
    }
    for i, task in enumerate(scorer.tasks):
        change, positives = auc_change.get(task, 0.0), int(labels[:, i].sum())
        # Two pairs that change places say nothing, and are much where a task has few positives.
        chance = 2 / max(positives * (len(labels) - positives), 1)
        if options.precision != "fp32" and change < -options.max_auc_loss - chance:
            raise ParityError(
                f"tables in {options.precision} cost {task} {-change:.4f} AUC (limit {options.max_auc_loss:g}), so "
                "nothing was written; take more bits with --precision, or allow it with --max-auc-loss."
            )
    return {
        "max_abs_diff": difference,
        "rows": len(scores),
        "auc_change": {task: auc_change.get(task) for task in scorer.tasks},
    }


def auc_of(scores_N: npt.NDArray[np.float32], labels_N: npt.NDArray[np.float32]) -> float:
    """Area under the ROC curve of one task."""
    return float(binary_auroc(torch.tensor(scores_N), torch.tensor(labels_N).long(), validate_args=False))
