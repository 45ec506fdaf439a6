"""From a batch of requests and the vectors that were looked up for it to what the dense model scores.

N candidates   V unique items   E width of an item's vector   F features of one scope   D width of a feature's vector
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinfm.embeddings.sharded.collections import concatenate_sub_tables
from pinfm.embeddings.specs import IdTable
from pinfm.model.ranking.joint import RankingInputs
from pinfm.model.ranking.ranker import RankerFeatures
from pinfm.model.schema import InputSchema
from pinfm.train.loader.batches import RequestBatch
from pinfm.train.objectives.pretrain import Vectors


@dataclass(frozen=True, kw_only=True)
class InputAssembler:
    """Puts vectors in their places.

    Args:
        schema: tasks and features.
        item_table: the item id table.
        feature_tables: the user id's table and one per categorical feature.
        freeze_items: item vectors get no gradient.
    """

    schema: InputSchema
    item_table: IdTable
    feature_tables: Sequence[IdTable]
    freeze_items: bool = False

    def __call__(self, batch: RequestBatch, items: Vectors, features: Vectors) -> tuple[Tensor, RankingInputs]:
        """The vectors (V, E) of the batch's unique items, and the batch with all vectors in their places."""
        item_VE = concatenate_sub_tables(items, self.item_table)
        if self.freeze_items:
            item_VE = item_VE.detach()
        return item_VE, RankingInputs(
            history=batch.history,
            candidates=batch.candidates,
            item_TE=item_VE[batch.event_item],
            item_NE=item_VE[batch.candidate_item],
            features=ranker_features(batch, features, self.schema, self.feature_tables),
            reads=batch.reads,
        )


def ranker_features(
    batch: RequestBatch, vectors: Vectors, schema: InputSchema, tables: Sequence[IdTable]
) -> RankerFeatures:
    """The ranker's own features from the vectors of the batch's distinct values."""
    by_name = {table.name: concatenate_sub_tables(vectors, table) for table in tables}
    request = ["user_id", *(feature.name for feature in schema.of("categorical", "request"))]
    candidate = [feature.name for feature in schema.of("categorical", "candidate")]
    dim = by_name["user_id"].size(1)
    return RankerFeatures(
        request_vectors=_expand(by_name, request, batch.request_values, dim),
        candidate_vectors=_expand(by_name, candidate, batch.candidate_values, dim),
        request_dense=batch.request_dense,
        candidate_dense=batch.candidate_dense,
    )


def _expand(by_name: Mapping[str, Tensor], names: Sequence[str], places_NF: Tensor, dim: int) -> Tensor:
    """(N, F, D): each row's vector of every feature, from the vectors of the batch's distinct values."""
    if not names:
        return next(iter(by_name.values())).new_zeros(places_NF.size(0), 0, dim)
    return torch.stack([by_name[name][places_NF[:, i]] for i, name in enumerate(names)], dim=1)
