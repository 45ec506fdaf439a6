"""What adaptation changes on the requests that the run kept, nobody having tampered with them."""

from typing import Any

import numpy as np
import pandas as pd

from pinfm.inference.artifact import Scorer
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import (
    BATCH_SIZE,
    PARTS,
    ParityError,
    auc,
    auc_change,
    change_as_text,
    jackknife_error,
    kept_of_candidates,
)


def check_change(scorer: Scorer, plain: pd.DataFrame, requests: pd.DataFrame, options: ExportOptions) -> dict[str, Any]:
    """Compares an artefact that adapts histories with the same one without.

    Args:
        scorer: the artefact.
        plain: scores of `requests` without adaptation.
        requests: real requests with `label_{task}` columns.
        options: what it was exported with.

    Returns:
        {"max_abs_change", "mean_abs_change": of a probability, over all tasks; "auc_without", "auc_with",
        "auc_change": by task, None where only one class is there; "auc_change_error": its standard error, None where
        the requests do not tell}.

    Raises:
        ParityError: a score is no number, or a task's AUC falls by more than the options allow.
    """
    adapted = scorer.score(requests, BATCH_SIZE)
    part_N = adapted["request"].to_numpy() * PARTS // len(requests)
    changed = np.abs(adapted[list(scorer.tasks)].to_numpy() - plain[list(scorer.tasks)].to_numpy())
    if not np.isfinite(changed).all():
        raise ParityError(
            f"--adapt {options.adapt} makes scores that are no numbers, so nothing was written; "
            f"give its settings, --{options.adapt}.*, sizes like their defaults'."
        )
    report: dict[str, Any] = {
        "max_abs_change": float(changed.max()),
        "mean_abs_change": float(changed.mean()),
        "auc_without": {},
        "auc_with": {},
        "auc_change": {},
        "auc_change_error": {},
    }
    for task in scorer.tasks:
        ours, theirs = adapted[task].to_numpy(), plain[task].to_numpy()
        labels = kept_of_candidates(requests, f"label_{task}")
        change, error = auc_change(ours, theirs, labels), jackknife_error(ours, theirs, labels, part_N)
        if change is not None and change < -options.max_auc_loss:
            raise ParityError(
                f"--adapt {options.adapt} changes the AUC of {task} by {change_as_text(change, error)} "
                f"(--max-auc-loss is {options.max_auc_loss:g}) on requests that nobody tampered with, so nothing was "
                "written; adapt less, or allow it with --max-auc-loss."
            )
        report["auc_without"][task], report["auc_with"][task] = auc(theirs, labels), auc(ours, labels)
        report["auc_change"][task], report["auc_change_error"][task] = change, error
    return report
