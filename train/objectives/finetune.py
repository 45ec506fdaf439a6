"""What a step of fine-tuning minimises: dense model and batch in, one loss and its parts out.

Sums are divided by the count over all ranks (`mean_over_ranks`) and negatives are gathered from all ranks, so the loss
does not depend on how the batch is spread.

    T  events     N  candidates     V  unique items     E  width of an item's vector     K  tasks     O  width of H
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.embeddings.sharded.collections import concatenate_sub_tables
from pinfm.embeddings.specs import IdTable
from pinfm.model.dcat import Context
from pinfm.model.layers.tokens import gaps_to_next
from pinfm.model.losses import Sequences, in_batch_counts, log_weights, next_token_pairs
from pinfm.model.ranking.joint import FusedRanker, PlainRanker, RankingInputs
from pinfm.model.ranking.ranker import RankerFeatures
from pinfm.model.schema import InputSchema
from pinfm.train.config import FinetuneConfig
from pinfm.train.distributed import mean_over_ranks
from pinfm.train.loader.batches import RequestBatch
from pinfm.train.objectives.contrastive import contrastive_losses, negatives_of_all_ranks
from pinfm.train.objectives.pretrain import Losses, Vectors


class RankingObjective(nn.Module):
    """Binary cross-entropy of every task, for the ranker without a tower.

    Args:
        model: the ranker.
        schema: tasks and features.
        item_table: the item id table.
        feature_tables: the user id's table and one per categorical feature.
    """

    def __init__(
        self, model: PlainRanker, schema: InputSchema, item_table: IdTable, feature_tables: Sequence[IdTable]
    ) -> None:
        super().__init__()
        self.model, self.schema = model, schema
        self.item_table, self.feature_tables = item_table, tuple(feature_tables)

    def forward(self, batch: RequestBatch, items: Vectors, features: Vectors) -> tuple[Tensor, Losses]:
        """The loss and its parts, with the logits (N, K) beside them; in evaluation the logits alone."""
        item_VE = concatenate_sub_tables(items, self.item_table)
        inputs = ranking_inputs(batch, item_VE, ranker_features(batch, features, self.schema, self.feature_tables))
        if not self.training:
            return scores_alone(self.model, inputs)
        output = self.model(inputs)
        loss = ranking_loss(output.logits, batch.labels)
        return loss, {"loss": loss, "ranking_loss": loss, "logits": output.logits}


class JointObjective(nn.Module):
    """Joint fine-tuning: the ranking losses of the ranker and of the tower's own predictions, their agreement, L_ntl.

    Args:
        model: tower and ranker.
        schema: tasks and features.
        item_table: the item id table.
        feature_tables: the user id's table and one per categorical feature.
        config: weights.
        alignment_weight: of the content fusion's alignment loss.
    """

    def __init__(
        self,
        model: FusedRanker,
        schema: InputSchema,
        item_table: IdTable,
        feature_tables: Sequence[IdTable],
        config: FinetuneConfig,
        alignment_weight: float,
    ) -> None:
        super().__init__()
        self.model, self.schema, self.config = model, schema, config
        self.alignment_weight = alignment_weight
        self.item_table, self.feature_tables = item_table, tuple(feature_tables)

    def forward(self, batch: RequestBatch, items: Vectors, features: Vectors) -> tuple[Tensor, Losses]:
        """The weighted loss and its parts, with the logits (N, K) beside them; in evaluation the logits alone."""
        config = self.config
        item_VE = concatenate_sub_tables(items, self.item_table)
        if config.freeze_tower:
            item_VE = item_VE.detach()
        inputs = ranking_inputs(batch, item_VE, ranker_features(batch, features, self.schema, self.feature_tables))
        if not self.training:
            return scores_alone(self.model, inputs)
        output = self.model(inputs)
        losses = {
            "ranking_loss": ranking_loss(output.logits, batch.labels),
            "tower_ranking_loss": ranking_loss(output.tower_logits, batch.labels),
            "agreement_loss": agreement_loss(output.tower_logits, output.logits),
            "next_token_loss": self._next_token_loss(batch, output.context, item_VE),
            "alignment_loss": self._alignment_loss(batch, inputs.item_NE),
        }
        total = (
            losses["ranking_loss"]
            + config.tower_prediction_weight * losses["tower_ranking_loss"]
            + config.agreement_weight * losses["agreement_loss"]
            + config.next_token_weight * losses["next_token_loss"]
            + self.alignment_weight * losses["alignment_loss"]
        )
        return total, {"loss": total, **losses, "logits": output.logits}

    def _alignment_loss(self, batch: RequestBatch, item_NE: Tensor) -> Tensor:
        # A candidate that was given a random id stands beside another item's vector.
        own_N = batch.item_ids[batch.candidate_item] == batch.candidates.item_id
        content_NK = batch.candidates.content * own_N[:, None]
        count = (content_NK.abs().sum(1) > 0).sum()
        mean: Tensor = self.model.encoder.content.alignment_loss(item_NE, content_NK)  # type: ignore[operator]
        return mean_over_ranks(mean * count, count)

    def _next_token_loss(self, batch: RequestBatch, context: Context | None, item_VE: Tensor) -> Tensor:
        if context is None or self.config.freeze_tower or not self.config.next_token_weight:
            return item_VE.new_zeros(())
        states_TO = self.model.encoder.states(context, gaps_to_next(batch.history))
        sequences = Sequences(batch.history.lengths, batch.user, batch.event_item, batch.positive)
        pairs = next_token_pairs(sequences, self.config.next_token_newest)
        z_VO = self.model.encoder.psi(item_VE)
        counts_V = in_batch_counts(sequences, z_VO.size(0))
        negatives = negatives_of_all_ranks(z_VO, sequences, batch.item_ids, log_weights(counts_V, None))
        return contrastive_losses(self.model.encoder.temperature(), states_TO, z_VO, sequences, negatives, [pairs])[0]


def scores_alone(model: FusedRanker | PlainRanker, inputs: RankingInputs) -> tuple[Tensor, Losses]:
    """Logits (N, K) beside a loss of zero, without what only losses read."""
    logits_NK = model.score(inputs)
    return logits_NK.new_zeros(()), {"logits": logits_NK}


def ranking_loss(logits_NK: Tensor, labels_NK: Tensor) -> Tensor:
    """Binary cross-entropy, mean over candidates, sum over tasks."""
    total = F.binary_cross_entropy_with_logits(logits_NK.float(), labels_NK, reduction="sum")
    return mean_over_ranks(total, torch.tensor(labels_NK.size(0), device=labels_NK.device))


def agreement_loss(tower_logits_NK: Tensor, logits_NK: Tensor) -> Tensor:
    """MSE between the tower's own probabilities and the ranker's, mean over candidates, sum over tasks.

    The ranker is the target (no gradient): it reads more, so the tower follows it and not the reverse.
    """
    difference = tower_logits_NK.float().sigmoid() - logits_NK.float().sigmoid().detach()
    return mean_over_ranks(difference.square().sum(), torch.tensor(logits_NK.size(0), device=logits_NK.device))


def ranking_inputs(batch: RequestBatch, item_VE: Tensor, features: RankerFeatures) -> RankingInputs:
    """The batch with the vectors of its items in their places."""
    return RankingInputs(
        history=batch.history,
        candidates=batch.candidates,
        item_TE=item_VE[batch.event_item],
        item_NE=item_VE[batch.candidate_item],
        features=features,
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
