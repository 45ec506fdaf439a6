"""The predictions of a split as a Parquet file: one row a candidate, ids as the log writes them."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.whole import replaced
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.predictions import Predictions


def write_predictions(path: Path, predictions: Predictions, dataset: PreparedDataset) -> None:
    """Writes `request_id`, `user_id`, `timestamp` (of the request), `item_id`, and of every task `label_{task}` and
    the probability under the task's own name, as `pinfm score` calls it.

    Args:
        path: the file, which appears when it is whole.
        predictions: of one split.
        dataset: which they are of.
    """
    columns: dict[str, Any] = {
        "request_id": dataset.as_logged("request_id", predictions.request_id),
        "user_id": dataset.as_logged("user_id", predictions.user_id),
        "timestamp": predictions.timestamp,
        "item_id": dataset.as_logged("item_id", predictions.item_id),
    }
    for i, task in enumerate(dataset.info.schema.tasks):
        columns[f"label_{task}"] = predictions.labels[:, i] > 0.5
        columns[task] = predictions.probabilities[:, i]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as unfinished:
        pyarrow.parquet.write_table(pyarrow.table(columns), unfinished, compression="zstd")


def require_predictions_file(path: Path, run: Path, data: Path) -> None:
    """Looks at where predictions are to go, before the work.

    Raises:
        UserError: it is a folder or a device, or lies within the run or the dataset.
    """
    if path.exists() and not path.is_file():
        raise UserError(
            f"--predictions ({path}) must be a file, not a folder or a device; give such as scores.parquet."
        )
    for folder in (run, data):
        if path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"--predictions {path} lies within {folder}, which is read; give a file elsewhere.")
