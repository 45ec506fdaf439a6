"""Requests of a split as the scoring module takes them, with their labels: what attacks and measures work on.

U  requests     T  events of all histories     N  candidates of all requests
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pinfm.inference.requests.columns import HISTORY, Scope, input_columns
from pinfm.model.inputs import History
from pinfm.model.schema import InputSchema
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import ragged_index
from pinfm.train.loader.arrays import RequestArrays, concatenate
from pinfm.train.loader.requests import RequestReader, RequestSource
from pinfm.train.loader.streams import Draw


@dataclass(frozen=True, kw_only=True)
class Requests:
    """U requests.

    Args:
        inputs: of `ScoringModule.forward`.
        scopes: of each input but the lengths: `request`, `history` or `candidate`.
        request_id: (U,) int64; random draws of a request follow from it.
        labels: (N, tasks) float32.
    """

    inputs: Mapping[str, Tensor]
    scopes: Mapping[str, Scope]
    request_id: Tensor
    labels: Tensor

    @cached_property
    def history(self) -> History:
        """The events."""
        return History(self.inputs["history_lengths"], *(self.inputs[f"history_{name}"] for name in HISTORY))

    @cached_property
    def owner_N(self) -> Tensor:
        """(N,) the request of each candidate."""
        return torch.repeat_interleave(self.inputs["candidate_lengths"])

    def with_history(self, history: History) -> "Requests":
        """The same requests after other events."""
        events = dict(zip(["history_lengths", *(f"history_{name}" for name in HISTORY)], history, strict=True))
        return replace(self, inputs={**self.inputs, **events})

    def take(self, rows_R: Tensor) -> "Requests":
        """Some of the requests, in this order; one may be taken twice."""
        events, candidates = (rows_of(self.inputs[f"{name}_lengths"], rows_R) for name in ("history", "candidate"))
        of_scope = {"request": rows_R, "history": events, "candidate": candidates}
        inputs = {name: self.inputs[name][of_scope[scope]] for name, scope in self.scopes.items()}
        inputs |= {name: self.inputs[name][rows_R] for name in ("history_lengths", "candidate_lengths")}
        return replace(self, inputs=inputs, request_id=self.request_id[rows_R], labels=self.labels[candidates])

    def batches(self, size: int) -> list["Requests"]:
        """So many requests at a time."""
        return [self.take(rows_R) for rows_R in torch.arange(len(self.request_id)).split(size)]


def rows_of(lengths_U: Tensor, rows_R: Tensor) -> Tensor:
    """The rows of a jagged tensor that belong to some requests.

    Example:
        >>> rows_of(torch.tensor([2, 0, 3]), torch.tensor([2, 0])).tolist()
        [2, 3, 4, 0, 1]
    """
    starts_U = torch.cumsum(lengths_U, 0) - lengths_U
    return torch.from_numpy(ragged_index(starts_U[rows_R].numpy(), lengths_U[rows_R].numpy()))


def read_requests(
    dataset: PreparedDataset, split: str, max_history: int, most: int, least_events: int, seed: int = 0
) -> Requests:
    """Requests with enough of a history to be worth an attack, drawn evenly from a split, in the order of their ids.

    Args:
        dataset: with impressions.
        split: of it.
        max_history: newest events that a request sees.
        most: requests; all where the split has fewer.
        least_events: of a history.
        seed: of the draw.
    """
    source = RequestSource(dataset, split, max_history=max_history)
    buckets = [source.read(bucket) for bucket in range(source.num_buckets)]
    long_enough = [np.flatnonzero(bucket.history_length >= least_events) for bucket in buckets]
    found = np.array([(b, row) for b, rows in enumerate(long_enough) for row in rows], dtype=np.int64).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    kept = found[np.sort(rng.choice(len(found), min(most, len(found)), replace=False))]
    reader = RequestReader(dataset.info.schema, dataset.item_attributes, 0.0, share_histories=False)
    parts = [reader(Draw(bucket=buckets[b], rows=kept[kept[:, 0] == b, 1], rng=rng)) for b in np.unique(kept[:, 0])]
    requests = requests_of(concatenate(parts), dataset.info.schema)
    return requests.take(torch.argsort(requests.request_id))


def requests_of(arrays: RequestArrays, schema: InputSchema) -> Requests:
    """Requests that each have a history of their own, as tensors."""
    events = {f"history_{name}": getattr(arrays.history, name) for name in HISTORY}
    values: dict[str, npt.NDArray[np.generic]] = {
        "user_id": arrays.user_id,
        "request_timestamp": arrays.request_timestamp,
        "history_lengths": arrays.history.lengths,
        **events,
        "candidate_lengths": arrays.candidate_lengths,
        "candidate_item_id": arrays.item_id,
        "candidate_created_at": arrays.created_at,
        "candidate_content": arrays.content,
        **arrays.categorical,
        **_columns(arrays.request_dense, [feature.name for feature in schema.of("dense", "request")]),
        **_columns(arrays.candidate_dense, [feature.name for feature in schema.of("dense", "candidate")]),
    }
    scopes = {column.name: column.scope for column in input_columns(schema)}
    names = ["history_lengths", "candidate_lengths", *scopes]
    return Requests(
        inputs={name: torch.from_numpy(np.ascontiguousarray(values[name])) for name in names},
        scopes=scopes,
        request_id=torch.from_numpy(arrays.request_id),
        labels=torch.from_numpy(arrays.labels),
    )


def with_drawn_candidates(requests: Requests, pool: Requests, count: int, seed: int) -> Requests:
    """The same users and moments with other candidates: rows of the pool, which are items by their popularity.

    A row brings its item's features along. Slates of a log may hold one candidate or two, of which no list is made.

    Args:
        requests: whose candidates are replaced; labels are zeros.
        pool: where candidates are drawn from.
        count: different items of each request; the pool has to hold several times as many.
        seed: of the draws, which follow from each request's id.
    """
    ids_N = pool.inputs["candidate_item_id"].numpy()
    rows = []
    for request_id in requests.request_id.tolist():
        order = request_rng(seed, request_id).permutation(len(ids_N))
        first = np.sort(np.unique(ids_N[order], return_index=True)[1])[:count]
        rows.append(torch.from_numpy(order[first]))
    kept = torch.cat(rows)
    drawn = {name: pool.inputs[name][kept] for name, scope in pool.scopes.items() if scope == "candidate"}
    lengths = torch.tensor([len(of_request) for of_request in rows])
    return replace(
        requests,
        inputs={**requests.inputs, **drawn, "candidate_lengths": lengths},
        labels=torch.zeros(len(kept), requests.labels.size(1)),
    )


def request_rng(seed: int, request_id: int) -> np.random.Generator:
    """Draws of one request, the same whoever stands beside it."""
    return np.random.default_rng([seed, request_id % (1 << 63)])


def _columns(block: npt.NDArray[np.float32], names: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    return {name: block[:, i] for i, name in enumerate(names)}
