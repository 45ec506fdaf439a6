"""Batches as TorchRec's train pipeline moves them: tensors and the rows of ids, every unique item once."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from pinfm.embeddings.sharded.collections import RowFinder
from pinfm.model.inputs import Candidates, History, Reads
from pinfm.model.schema import SURFACE, InputSchema
from pinfm.train.data.item_attributes import ItemAttributes
from pinfm.train.data.ragged import IntArray
from pinfm.train.ids.maps import FreshRows, Ids
from pinfm.train.loader.arrays import HistoryArrays, RequestArrays, SegmentArrays

Self = TypeVar("Self", bound="Batch")


@dataclass
class Batch(Pipelineable):  # type: ignore[misc]  # torchrec carries no types
    """A dataclass of tensors, named tuples of tensors, and jagged tensors, which moves between devices as one."""

    def to(self: Self, device: torch.device, non_blocking: bool = False) -> Self:
        """Copies every field to a device."""
        return type(self)(**{f.name: _to(getattr(self, f.name), device, non_blocking) for f in fields(self)})

    def record_stream(self, stream: torch.Stream) -> None:
        """Tells the allocator that `stream` still reads these tensors."""
        for f in fields(self):
            value = getattr(self, f.name)
            for tensor in value if isinstance(value, tuple) else [value]:
                if tensor is not None:
                    tensor.record_stream(stream)


@dataclass
class SegmentBatch(Batch):
    """Segments for pretraining. S segments, T events, V unique items.

    Args:
        history: the events.
        user: (S,) index of each segment's user in the batch.
        positive: (T,) bool, whether the event's action is a positive one.
        ahead: (T, R) how far ahead the targets of L_mtl stand.
        hidden: (T,) bool, events whose items the masked-event loss hides.
        half: (T,) bool, events of one of the two views that the contrastive loss compares; the rest are the other's.
        unmet: (T, Q) items of other events among the V, to be offered beside each event's own.
        item_ids: (V,) raw ids, ascending.
        item_index: (T,) each event's item among them.
        drawn: (V,) how often each item was drawn from the catalogue to compare with.
        drawn_items: (K,) the places among the V of those that were, ascending.
        log_share: (V,) log of the items' share of what negatives are drawn from.
        item_rows: rows of the V items.
        fresh: rows of managed tables that belong to another id from this batch on.
    """

    history: History
    user: Tensor
    positive: Tensor
    ahead: Tensor
    hidden: Tensor
    half: Tensor
    unmet: Tensor
    item_ids: Tensor
    item_index: Tensor
    drawn: Tensor
    drawn_items: Tensor
    log_share: Tensor
    item_rows: KeyedJaggedTensor
    fresh: FreshRows


@dataclass
class RequestBatch(Batch):
    """Requests for ranking. U requests, T events, N candidates, V unique items.

    Args:
        history: the events, in S histories.
        reads: which part of which history each request sees.
        candidates: the candidates of each request.
        user: (S,) index of each history's user in the batch.
        positive: (T,) bool.
        item_ids: (V,) raw ids, ascending.
        event_item: (T,) each event's item among them.
        candidate_item: (N,) each candidate's item among them, as looked up.
        item_rows: rows of the V items.
        feature_rows: rows of user ids and categorical features, each value once per batch.
        request_values: (U, F_r) place of each request-scope value among its feature's values, the user id first.
        candidate_values: (N, F_c) the same for candidate scope.
        request_dense: (U, M_r) raw values.
        candidate_dense: (N, M_c) raw values.
        labels: (N, tasks) float32.
        fresh: rows of managed tables that belong to another id from this batch on.
    """

    history: History
    reads: Reads
    candidates: Candidates
    user: Tensor
    positive: Tensor
    item_ids: Tensor
    event_item: Tensor
    candidate_item: Tensor
    item_rows: KeyedJaggedTensor
    feature_rows: KeyedJaggedTensor
    request_values: Tensor
    candidate_values: Tensor
    request_dense: Tensor
    candidate_dense: Tensor
    labels: Tensor
    fresh: FreshRows


class SegmentCollator:
    """Turns segment arrays into a batch.

    Args:
        items: their popularity.
        catalogue: item ids that negatives are taken from.
        ids: finds the rows of items.
        schema: the dataset's actions.
        negatives: see `PretrainConfig`.
    """

    def __init__(
        self,
        items: ItemAttributes,
        catalogue: IntArray,
        ids: Ids,
        schema: InputSchema,
        negatives: Literal["in_batch", "sampled", "catalogue"],
    ) -> None:
        self._items, self._catalogue, self._ids = items, catalogue, ids
        self._positive_codes, self._negatives = schema.positive_codes(), negatives

    def __call__(self, arrays: SegmentArrays) -> SegmentBatch:
        """The batch on the CPU."""
        drawn = self._catalogue if self._negatives == "catalogue" else arrays.drawn
        num_events, num_unmet = len(arrays.history.item_id), arrays.unmet.size
        item_ids, index = np.unique(
            np.concatenate([arrays.history.item_id, arrays.unmet.ravel(), drawn]), return_inverse=True
        )
        of_events, of_unmet, of_drawn = np.split(index, [num_events, num_events + num_unmet])
        # Before rows are found: it may be this batch that earns one.
        fresh = self._ids.observe({"item": arrays.history.item_id})
        share = self._items.log_share(item_ids)
        if self._negatives == "sampled":
            share = np.full(len(item_ids), -np.log(len(self._catalogue)), dtype=np.float32)
        drawn_V = np.bincount(of_drawn, minlength=len(item_ids))
        return SegmentBatch(
            history=history_tensors(arrays.history),
            user=_user_index(arrays.user_id),
            positive=torch.from_numpy(np.isin(arrays.history.action, self._positive_codes)),
            ahead=torch.from_numpy(arrays.ahead),
            hidden=torch.from_numpy(arrays.hidden),
            half=torch.from_numpy(arrays.half),
            unmet=torch.from_numpy(of_unmet.reshape(arrays.unmet.shape)),
            item_ids=torch.from_numpy(item_ids),
            item_index=torch.from_numpy(of_events),
            drawn=torch.from_numpy(drawn_V),
            drawn_items=torch.from_numpy(np.flatnonzero(drawn_V)),
            log_share=torch.from_numpy(share),
            item_rows=_rows_of_items(self._ids.item_rows, item_ids),
            fresh=fresh,
        )


class RequestCollator:
    """Turns request arrays into a batch.

    Args:
        ids: finds the rows of items, users and categorical features.
        schema: the dataset's features and actions.
        observed: id spaces (`item`, `user_id`) whose maps learn from the batches, where their ids are managed.
    """

    def __init__(self, ids: Ids, schema: InputSchema, observed: Collection[str]) -> None:
        self._ids, self._observed = ids, observed
        self._positive_codes = schema.positive_codes()
        self._request = schema.of("categorical", "request")
        self._candidate = schema.of("categorical", "candidate")

    def __call__(self, arrays: RequestArrays) -> RequestBatch:
        """The batch on the CPU."""
        num_events, surface = len(arrays.history.item_id), arrays.categorical.get(SURFACE)
        item_ids, index = np.unique(
            np.concatenate([arrays.history.item_id, arrays.embedded_item_id]), return_inverse=True
        )
        values, places = self._unique_values(arrays)
        fresh = self._observe(arrays)
        return RequestBatch(
            history=history_tensors(arrays.history),
            reads=Reads(
                history=torch.from_numpy(np.cumsum(arrays.opens_history) - 1), visible=torch.from_numpy(arrays.visible)
            ),
            candidates=Candidates(
                lengths=torch.from_numpy(arrays.candidate_lengths),
                request_timestamp=torch.from_numpy(arrays.request_timestamp),
                item_id=torch.from_numpy(arrays.item_id),
                created_at=torch.from_numpy(arrays.created_at),
                content=torch.from_numpy(arrays.content),
                surface=None if surface is None else torch.from_numpy(surface),
            ),
            user=_user_index(arrays.user_id[arrays.opens_history]),
            positive=torch.from_numpy(np.isin(arrays.history.action, self._positive_codes)),
            item_ids=torch.from_numpy(item_ids),
            event_item=torch.from_numpy(index[:num_events]),
            candidate_item=torch.from_numpy(index[num_events:]),
            item_rows=_rows_of_items(self._ids.item_rows, item_ids),
            feature_rows=self._ids.feature_rows(values),
            request_values=_stack([places["user_id"], *(places[f.name] for f in self._request)]),
            candidate_values=_stack([places[f.name] for f in self._candidate] or [arrays.item_id])[
                :, : len(self._candidate)
            ],
            request_dense=torch.from_numpy(arrays.request_dense),
            candidate_dense=torch.from_numpy(arrays.candidate_dense),
            labels=torch.from_numpy(arrays.labels),
            fresh=fresh,
        )

    def _observe(self, arrays: RequestArrays) -> FreshRows:
        """Shows the batch's own ids to the maps, before rows are found: it may be this batch that earns one."""
        # The candidates as they are: random ids in their place are nobody's sightings.
        seen = {"item": np.concatenate([arrays.history.item_id, arrays.item_id]), "user_id": arrays.user_id}
        return self._ids.observe({name: seen[name] for name in self._observed})

    def _unique_values(self, arrays: RequestArrays) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, IntArray]]:
        """Each feature's values once, as one jagged sample, and where each row finds its own."""
        values, places = {}, {}
        for name, column in {"user_id": arrays.user_id, **arrays.categorical}.items():
            unique, places[name] = np.unique(column, return_inverse=True)
            values[name] = (torch.from_numpy(unique), torch.tensor([len(unique)]))
        return values, places


def history_tensors(arrays: HistoryArrays) -> History:
    """The events as the tower reads them."""
    return History(**{f.name: torch.from_numpy(getattr(arrays, f.name)) for f in fields(arrays)})


def _stack(columns: list[IntArray]) -> Tensor:
    return torch.from_numpy(np.stack(columns, axis=1))


def _user_index(user_id: IntArray) -> Tensor:
    return torch.from_numpy(np.unique(user_id, return_inverse=True)[1])


def _rows_of_items(finder: RowFinder, item_ids: IntArray) -> KeyedJaggedTensor:
    # One jagged sample, as for the features: TorchRec takes no batch of zero samples, which is what a rank would have
    # when its streams end before another rank's.
    return finder({"item": (torch.from_numpy(item_ids), torch.tensor([len(item_ids)]))})


def _to(value: Any, device: torch.device, non_blocking: bool) -> Any:
    if isinstance(value, tuple):
        return type(value)(*(_to(tensor, device, non_blocking) for tensor in value))
    if value is None:
        return None
    return value.to(device, non_blocking=non_blocking)
