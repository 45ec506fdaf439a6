"""`pinfm export`: a fine-tuned run in, a model folder out, checked before it is written."""

import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.lookup import MultiHashEmbedding
from pinfm.inference.artifact import MANIFEST, MODULE, SIGNATURE, Scorer, load, sha256, write_json
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests import input_columns
from pinfm.model.ranking.joint import build_model
from pinfm.model.run_folder import RunFolder

REQUESTS = "requests.parquet"
DENSE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Of a probability. In bf16 a logit of 4 is known to 1/64, and the layers below it add their part.
MAX_ABS_DIFF = {"fp32": 1e-5, "bf16": 2e-2}


class ParityError(UserError):
    """The exported module and the run give different scores."""


def export(run_path: Path, out: Path, dense_precision: str = "fp32") -> dict[str, Any]:
    """Exports the newest checkpoint of a fine-tuned run.

    Args:
        run_path: the run folder; it holds real requests with the run's own scores.
        out: the model folder to write; must not exist.
        dense_precision: `fp32` or `bf16`, of all but the tables.

    Returns:
        The manifest's `parity`: {"max_abs_diff", "rows"}.

    Raises:
        UserError: the run can't be exported, or `out` exists.
        ParityError: artefact and run differ by more than the precision's limit; nothing is written.
    """
    run = RunFolder.open(run_path)
    if run.kind != "finetune":
        raise UserError(f"{run_path} is a {run.kind} run, which ranks nothing; export a run of `pinfm finetune`.")
    if out.exists():
        raise UserError(f"{out} exists already; give another --out.")
    if not (run_path / REQUESTS).is_file():
        raise UserError(f"{run_path} has no {REQUESTS} to check against; let the run finish.")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    unfinished.chmod(0o755)  # mkdtemp makes it private; whoever serves must read it
    try:
        parity = _write(run, unfinished, dense_precision)
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return parity


def scoring_module(run: RunFolder, dense_precision: str = "fp32") -> ScoringModule:
    """The run's model with whole tables, in evaluation mode, from its newest checkpoint.

    Args:
        run: a fine-tuning run.
        dense_precision: key of `DENSE_DTYPES`.
    """
    feature_tables = {table.name: MultiHashEmbedding(table) for table in run.feature_tables}
    item_tables = MultiHashEmbedding(run.item_table)
    feature_dim = feature_tables["user_id"].dim
    model = build_model(run.model, run.schema, item_tables.dim, feature_dim)
    model.load_state_dict(run.weights(model, "objective.model."))
    item_tables.load_state_dict(run.weights(item_tables, "item_tables."))
    for table in feature_tables.values():
        table.load_state_dict(run.weights(table, "feature_tables."))
    dense_dtype = DENSE_DTYPES[dense_precision]
    return ScoringModule(model, item_tables, feature_tables, run.schema, dense_dtype).eval()


def save_module(module: ScoringModule, path: Path) -> None:
    """Writes a module as TorchScript."""
    torch.jit.save(torch.jit.freeze(torch.jit.script(module)), str(path))


def _write(run: RunFolder, folder: Path, dense_precision: str) -> dict[str, Any]:
    save_module(scoring_module(run, dense_precision), folder / MODULE)
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
    scorer = Scorer(
        torch.jit.load(str(folder / MODULE)), columns, run.schema.tasks, run.manifest["config"]["max_history"]
    )
    parity = check_parity(scorer, pd.read_parquet(run.path / REQUESTS), MAX_ABS_DIFF[dense_precision])
    write_json(
        folder / MANIFEST,
        {
            "sha256": {name: sha256(folder / name) for name in (MODULE, SIGNATURE)},
            "precision": "fp32",
            "dense_precision": dense_precision,
            "parity": parity,
            "versions": {package: version(package) for package in ("pinfm", "torch")},
            "source_run": {
                "path": str(run.path.resolve()),
                "checkpoint": run.latest_checkpoint().name,
                **{key: run.manifest[key] for key in ("config", "dataset", "versions", "git", "hardware", "seed")},
            },
        },
    )
    load(folder)
    return parity


def check_parity(scorer: Scorer, requests: pd.DataFrame, limit: float) -> dict[str, Any]:
    """Compares an artefact with the scores that the run itself gave.

    Args:
        scorer: the artefact.
        requests: real requests with `expected_{task}` columns.
        limit: the largest difference of a probability that may be.

    Returns:
        {"max_abs_diff": largest absolute difference of a probability, "rows": candidates compared}.

    Raises:
        ParityError: the difference is above the limit.
    """
    scores = scorer.score(requests)
    expected = [np.concatenate(requests[f"expected_{task}"].to_list()) for task in scorer.tasks]
    difference = float(np.abs(scores[list(scorer.tasks)].to_numpy() - np.stack(expected, axis=1)).max())
    # Written this way round, a NaN, which numpy's max keeps, is refused too.
    if not difference <= limit:
        raise ParityError(
            f"the exported module differs from the run by {difference:.2e} (limit {limit:.0e}), so nothing was "
            "written; report this with the run's manifest."
        )
    return {"max_abs_diff": difference, "rows": len(scores)}
