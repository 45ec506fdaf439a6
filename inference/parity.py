"""Whether an artefact is the run: its scores against those that the run gave to real requests."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import torch
from torchmetrics.functional.classification import binary_auroc

from pinfm.embeddings.errors import UserError
from pinfm.inference.artifact import Scorer
from pinfm.inference.options import ExportOptions
from pinfm.model.stored.run_folder import REQUESTS, Named, RunFolder

# Of a probability. In bf16 a logit of 4 is known to 1/64, and the layers below it add their part; a tower in eight bits
# is one of the ranker's features.
MAX_ABS_DIFF = {"fp32": 1e-5, "bf16": 2e-2, "int8": 5e-2}
MAX_ABS_DIFF_OF_TABLES = {"fp32": 0.0, "fp16": 1e-2, "int8": 5e-2, "int4": 0.3}
# Parts of the requests that the jackknife leaves out in turn.
PARTS = 20
# Requests scored at a time: what the model computes of them stands in memory beside the tables.
BATCH_SIZE = 32

Scores = npt.NDArray[np.float32]


class ParityError(UserError):
    """The exported module and the run give different scores."""


def check_parity(scorer: Scorer, requests: pd.DataFrame, options: ExportOptions) -> dict[str, Any]:
    """Compares an artefact with the scores that the run itself gave.

    Args:
        scorer: the artefact.
        requests: real requests with `expected_{task}` and `label_{task}` columns.
        options: what it was exported with.

    Returns:
        {"max_abs_diff": largest absolute difference of a probability, "rows": candidates compared, "auc_change": by
        task AUC of the artefact - AUC of the run, None where only one class is there, "auc_change_error": its standard
        error, None where the requests do not tell}.

    Raises:
        UserError: the requests have no labels or no answers, or not one for each candidate.
        ParityError: probabilities differ, or a task's AUC falls, by more than the options allow.
    """
    for kind, task in product(("label", "expected"), scorer.tasks):
        if f"{kind}_{task}" not in requests:
            raise UserError(f"{REQUESTS} of the run has no {kind}_{task}, as of an older pinfm; fine-tune again.")
    scored = scorer.score(requests, BATCH_SIZE)
    limit = MAX_ABS_DIFF[options.dense_precision] + MAX_ABS_DIFF_OF_TABLES[options.precision]
    part_N = scored["request"].to_numpy() * PARTS // len(requests)
    changes, errors, difference = dict[str, float | None](), dict[str, float | None](), 0.0
    for task in scorer.tasks:
        ours = scored[task].to_numpy()
        theirs, labels = (kept_of_candidates(requests, f"{kind}_{task}") for kind in ("expected", "label"))
        # Written this way round, a NaN, which numpy's max keeps, is refused too.
        difference = float(np.maximum(difference, np.abs(ours - theirs).max()))
        if not difference <= limit:
            raise ParityError(
                f"the exported module differs from the run by {difference:.2e} (limit {limit:.0e}), so "
                "nothing was written; report this with the run's manifest."
            )
        changes[task] = auc_change(ours, theirs, labels)
        errors[task] = jackknife_error(ours, theirs, labels, part_N)
    for task, change in changes.items():
        if options.rounded() and change is not None and change < -options.max_auc_loss:
            parts, flags = (" and ".join(words) for words in zip(*options.rounded(), strict=True))
            raise ParityError(
                f"{parts} change the AUC of {task} by {change_as_text(change, errors[task])} "
                f"(--max-auc-loss is {options.max_auc_loss:g}), so nothing was written; "
                f"take more bits with {flags}, or allow it with --max-auc-loss."
            )
    return {
        "max_abs_diff": difference,
        "rows": len(scored),
        "auc_change": changes,
        "auc_change_error": errors,
    }


def kept_requests(run: RunFolder, which: Named = "best") -> pd.DataFrame:
    """The requests that a run kept.

    Args:
        run: a fine-tuning run.
        which: of its checkpoints gave the answers.

    Raises:
        UserError: they can't be read.
    """
    path = run.requests(which)
    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} can't be read; `pinfm finetune --resume` writes it again.") from error


def kept_of_candidates(requests: pd.DataFrame, column: str) -> Scores:
    """(N,) what a column of lists holds of each candidate.

    Raises:
        UserError: a list is none of numbers, or not of one for each candidate.
    """
    for row, (values, items) in enumerate(zip(requests[column], requests["candidate_item_id"], strict=True)):
        length = len(items)
        if np.ndim(values) != 1 or len(values) != length or np.asarray(values).dtype.kind not in "bif":
            raise UserError(
                f"row {row}: {column} of {REQUESTS} is no list of {length} numbers, one for each candidate; "
                "`pinfm finetune --resume` writes the file again."
            )
    joined: Scores = np.concatenate(requests[column].to_list()).astype(np.float32)
    return joined


def auc_change(ours_N: Scores, theirs_N: Scores, labels_N: Scores) -> float | None:
    """What one's AUC is above the other's; None where all labels are the same."""
    ours, theirs = auc(ours_N, labels_N), auc(theirs_N, labels_N)
    return None if ours is None or theirs is None else ours - theirs


def auc(scores_N: Scores, labels_N: Scores) -> float | None:
    """The area under the ROC curve; None where all labels are the same."""
    if not 0 < labels_N.mean() < 1:
        return None
    return float(binary_auroc(torch.tensor(scores_N), torch.tensor(labels_N).long(), validate_args=False))


def change_as_text(change: float | None, error: float | None) -> str:
    """`-0.0012 ± 0.0004`; without the error where the requests do not tell it."""
    if change is None:
        return "one class alone"
    return f"{change:+.4f}" + (f" ± {error:.4f}" if error is not None else " (too few to tell)")


def jackknife_error(ours_N: Scores, theirs_N: Scores, labels_N: Scores, part_N: npt.NDArray[np.int64]) -> float | None:
    """Standard error of `auc_change`, from what it is without each part of the requests (Quenouille and Tukey).

    Args:
        ours_N: scores.
        theirs_N: other scores.
        labels_N: 0 or 1.
        part_N: the part that each row belongs to; rows of a request belong to the same.

    Returns:
        None where a part holds all rows of a class, or there is one part alone.
    """

    def changes() -> Iterator[float | None]:
        for part in np.unique(part_N):
            kept = part_N != part
            yield auc_change(ours_N[kept], theirs_N[kept], labels_N[kept]) if kept.any() else None

    found = [change for change in changes() if change is not None]
    count = len(np.unique(part_N))
    if len(found) < count or count < 2:
        return None
    return float(np.sqrt((count - 1) * np.var(found)))
