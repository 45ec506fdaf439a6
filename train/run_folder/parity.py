"""Real requests with the run's own answers, kept in the run folder: `pinfm export` compares the artefact with them.

RUN/requests.parquet has one row per request, in the columns that `pinfm score` reads, with `expected_{task}` and
`label_{task}` beside.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from pinfm.embeddings.files.whole import replaced
from pinfm.model.schema import SURFACE, InputSchema
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import ragged_index
from pinfm.train.distributed import has_most, max_over_ranks
from pinfm.train.loader.arrays import RequestArrays
from pinfm.train.loader.batches import RequestBatch
from pinfm.train.loader.feed import Feed

# Enough to tell a change of AUC by a few thousandths, and no more candidates than a file should hold.
NUM_REQUESTS = 2048
NUM_CANDIDATES = 1 << 16

# Columns of the requests with ids, and the dataset's name for each.
ID_COLUMNS = {
    "request_id": "request_id",
    "user_id": "user_id",
    "history_item_id": "item_id",
    "candidate_item_id": "item_id",
}


def write_parity_requests(model: nn.Module, feed: Feed[RequestArrays], dataset: PreparedDataset, path: Path) -> None:
    """Scores the first requests of a split with the trained module and writes both. Every rank must call it.

    The file holds the requests of one rank, of the one that has most of them.

    Args:
        model: the sharded module.
        feed: the requests, unshuffled.
        dataset: what the feed reads.
        path: the file to write.
    """
    schema = dataset.info.schema
    frames, requests, candidates = [], 0, 0
    device = next(model.parameters()).device
    for arrays in feed.arrays(0, feed.steps_per_epoch):
        probabilities = predict(model, feed.collate(arrays), device)
        frame = requests_frame(arrays, schema)
        for task, column, labels in zip(schema.tasks, probabilities.T, arrays.labels.T, strict=True):
            frame[f"expected_{task}"] = split_rows(column, arrays.candidate_lengths)  # type: ignore[assignment]
            frame[f"label_{task}"] = split_rows(labels, arrays.candidate_lengths)  # type: ignore[assignment]
        frames.append(frame)
        requests, candidates = requests + len(frame), candidates + len(arrays.item_id)
        # Prediction is collective, so the ranks stop together, however many requests each has.
        if max_over_ranks(min(NUM_REQUESTS - requests, NUM_CANDIDATES - candidates)) <= 0:
            break
    # Of a small split the first rank may have nothing.
    if has_most(requests) and frames:
        kept = pd.concat(frames, ignore_index=True).head(NUM_REQUESTS)
        with replaced(path) as unfinished:
            with_logged_ids(kept, dataset).to_parquet(unfinished)


@torch.no_grad()
def predict(model: nn.Module, batch: Any, device: torch.device) -> npt.NDArray[np.float32]:
    """(N, tasks) probabilities of a batch, in evaluation mode."""
    model.eval()
    moved: RequestBatch = batch.to(device)
    _, parts = model(moved)
    probabilities: npt.NDArray[np.float32] = parts["logits"].float().sigmoid().cpu().numpy()
    return probabilities


def requests_frame(arrays: RequestArrays, schema: InputSchema) -> pd.DataFrame:
    """Requests as the artefact's inputs: one row each, lists for events and candidates."""
    history, lengths = arrays.history, arrays.candidate_lengths
    first_event = (np.cumsum(history.lengths) - history.lengths)[np.cumsum(arrays.opens_history) - 1]
    seen = ragged_index(first_event, arrays.visible)
    columns: dict[str, Any] = {
        "request_id": arrays.request_id,
        "user_id": arrays.user_id,
        "request_timestamp": arrays.request_timestamp,
    }
    events = {
        "item_id": history.item_id,
        "action": _names(history.action, schema.actions),
        "surface": _names(history.surface, schema.surfaces),
        "timestamp": history.timestamp,
    }
    for name, values in events.items():
        columns[f"history_{name}"] = split_rows(values[seen], arrays.visible)
    columns["candidate_item_id"] = split_rows(arrays.item_id, lengths)
    columns["candidate_created_at"] = split_rows(arrays.created_at, lengths)
    if schema.content_dim:
        columns["candidate_content"] = [list(rows) for rows in split_rows(arrays.content, lengths)]
    for feature in schema.features:
        of_feature = _feature(arrays, schema, feature.name)
        columns[feature.name] = of_feature if feature.scope == "request" else split_rows(of_feature, lengths)
    return pd.DataFrame(columns)


def with_logged_ids(frame: pd.DataFrame, dataset: PreparedDataset) -> pd.DataFrame:
    """The requests with ids as the log writes them, which is how `pinfm score` takes them."""
    columns: dict[str, Any] = {}
    for name, column in ID_COLUMNS.items():
        values = frame[name]
        if name in ("request_id", "user_id"):
            columns[name] = dataset.as_logged(column, values.to_numpy(np.int64))
        else:
            lengths = values.map(len).to_numpy(np.int64)
            columns[name] = split_rows(dataset.as_logged(column, np.concatenate(list(values))), lengths)
    return frame.assign(**columns)


def _names(codes: npt.NDArray[np.int64], vocabulary: Sequence[str]) -> npt.NDArray[Any]:
    """The name of each code; None for 0, which is unknown."""
    return np.array([None, *vocabulary], dtype=object)[codes]


def split_rows(values: npt.NDArray[Any], lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[Any]]:
    """The values of each request."""
    return np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []


def _feature(arrays: RequestArrays, schema: InputSchema, name: str) -> npt.NDArray[Any]:
    if name == SURFACE:
        return _names(arrays.categorical[name], schema.surfaces)
    if name in arrays.categorical:
        return arrays.categorical[name]
    for scope, block in (("request", arrays.request_dense), ("candidate", arrays.candidate_dense)):
        names = [feature.name for feature in schema.of("dense", scope)]
        if name in names:
            column: npt.NDArray[Any] = block[:, names.index(name)]
            return column
    raise KeyError(name)
