"""A prepared dataset's impressions as models of other libraries read them: one row each, columns of codes."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import SPLITS

# Of the prepared dataset -> of FuxiCTR, which names files after them.
FILES = dict(zip(SPLITS, ("train", "valid", "test"), strict=True))
FEATURE_MAP = "feature_map.json"
Columns = dict[str, npt.NDArray[np.int64]]


def flat_columns(dataset: PreparedDataset, split: str, names: list[str], task: str) -> Columns:
    """A split's impressions, in the order of its files.

    Args:
        dataset: the dataset.
        split: `train`, `validation` or `test`.
        names: `user_id`, `item_id` or categorical features.
        task: the label.

    Returns:
        (N,) each: the values as the dataset has them, and the label under the task's name, 0 or 1.
    """
    parts: dict[str, list[npt.NDArray[np.int64]]] = {name: [] for name in [*names, task]}
    for bucket in range(dataset.info.num_buckets):
        requests = dataset.requests(split, bucket)
        lengths = np.diff(requests["item_id"].combine_chunks().offsets.to_numpy())
        for name, into in parts.items():
            column = requests[f"label_{task}" if name == task else name].combine_chunks()
            values = column.flatten() if pyarrow.types.is_list(column.type) else column
            values = values.to_numpy(zero_copy_only=False).astype(np.int64)
            into.append(values if pyarrow.types.is_list(column.type) else np.repeat(values, lengths))
    return {name: np.concatenate(found) for name, found in parts.items()}


def write_flat(dataset: PreparedDataset, out: Path, task: str, min_values: int) -> Path:
    """Writes `train`, `valid` and `test.parquet` and FuxiCTR's `feature_map.json`.

    A value's code is its place among those of the training split, from 1 on; 0 is what training has not seen. FuxiCTR's
    own numbering is left out, so that both sides read the same codes.

    Args:
        dataset: the dataset.
        out: the folder.
        task: the label.
        min_values: categorical features with fewer distinct values are left out; dense ones always are.

    Returns:
        `out`.
    """
    features = [feature.name for feature in dataset.info.schema.features if feature.num_values >= min_values]
    names = ["user_id", "item_id", *features]
    out.mkdir(parents=True, exist_ok=True)
    seen: Columns = {}
    for split, file in FILES.items():
        columns = flat_columns(dataset, split, names, task)
        seen = seen or {name: np.unique(columns[name]) for name in names}
        coded = {name: _codes(columns[name], seen[name]) for name in names}
        pyarrow.parquet.write_table(pyarrow.table({**coded, task: columns[task]}), out / f"{file}.parquet")
    specs = [{name: {"source": "", "type": "categorical", "vocab_size": len(seen[name]) + 1}} for name in names]
    counts = {"num_fields": len(names), "total_features": sum(len(seen[name]) + 1 for name in names)}
    described = {"dataset_id": out.name, **counts, "input_length": len(names), "labels": [task], "features": specs}
    (out / FEATURE_MAP).write_text(json.dumps(described, indent=2))
    return out


def _codes(values_N: npt.NDArray[np.int64], seen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places in `seen`, which ascends, from 1 on; 0 for what is not there."""
    places_N = np.searchsorted(seen, values_N)
    known_N = seen[np.minimum(places_N, len(seen) - 1)] == values_N
    return np.where(known_N, places_N + 1, 0)
