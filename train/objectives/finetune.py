"""What a step of fine-tuning minimises: dense model and batch in, one loss and its parts out.

Sums are divided by the count over all ranks (`mean_over_ranks`) and negatives are gathered from all ranks, so the loss
does not depend on how the batch is spread.

    T  events     N  candidates     V  unique items     E  width of an item's vector     K  tasks     O  width of H
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.cold_start import has_content
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.layers.tokens import gaps_to_next
from pinfm.model.losses import Sequences, in_batch_counts, log_weights, next_token_pairs
from pinfm.model.ranking.joint import FusedRanker, PlainRanker, RankingInputs, RankingOutput
from pinfm.train.config import FinetuneConfig
from pinfm.train.distributed import mean_over_ranks
from pinfm.train.loader.batches import RequestBatch
from pinfm.train.objectives.adversarial import moved_events, with_gradient
from pinfm.train.objectives.contrastive import contrastive_losses, negatives_of_all_ranks
from pinfm.train.objectives.inputs import InputAssembler
from pinfm.train.objectives.pretrain import Losses, Vectors


class RankingObjective(nn.Module):
    """What a step on impressions does, with a tower or without one: vectors to their places, scores, losses of them.

    Args:
        model: the ranker, or tower and ranker.
        assemble: makes the model's inputs of a batch.
        losses: what is minimised; a weighted loss and its parts.
        adversarial_radius: see `FinetuneConfig`; 0 trains on histories as they are.
    """

    def __init__(
        self,
        model: FusedRanker | PlainRanker,
        assemble: InputAssembler,
        losses: "PlainLosses | JointLosses",
        adversarial_radius: float = 0.0,
    ) -> None:
        super().__init__()
        self.model, self.assemble, self.losses = model, assemble, losses
        self.adversarial_radius = adversarial_radius

    def forward(self, batch: RequestBatch, items: Vectors, features: Vectors) -> tuple[Tensor, Losses]:
        """The weighted loss and its parts, with the logits (N, K) beside them; in evaluation the logits alone."""
        item_VE, inputs = self.assemble(batch, items, features)
        if not self.training:
            # Without what only losses read.
            logits_NK = self.model.score(inputs)
            return logits_NK.new_zeros(()), {"logits": logits_NK}
        if self.adversarial_radius:
            inputs = with_gradient(inputs)
        output: RankingOutput = self.model(inputs)
        total, parts = self.losses(batch, item_VE, inputs, output)
        if self.adversarial_radius:
            moved = moved_events(inputs, parts["ranking_loss"], self.adversarial_radius)
            parts["adversarial_loss"], _ = self.losses(batch, item_VE, moved, self.model(moved))
            total = (total + parts["adversarial_loss"]) / 2
        return total, {"loss": total, **parts, "logits": output.logits}


class PlainLosses:
    """Binary cross-entropy of every task, for the ranker without a tower."""

    def __call__(
        self, batch: RequestBatch, item_VE: Tensor, inputs: RankingInputs, output: RankingOutput
    ) -> tuple[Tensor, Losses]:
        """The loss, which is its only part."""
        loss = ranking_loss(output.logits, batch.labels)
        return loss, {"ranking_loss": loss}


class JointLosses:
    """Joint fine-tuning: the ranking losses of the ranker and of the tower's own predictions, their agreement, L_ntl.

    Args:
        encoder: the tower.
        config: weights.
        alignment_weight: of the content fusion's alignment loss.
    """

    def __init__(self, encoder: SequenceEncoder, config: FinetuneConfig, alignment_weight: float) -> None:
        self.encoder, self.config, self.alignment_weight = encoder, config, alignment_weight

    def __call__(
        self, batch: RequestBatch, item_VE: Tensor, inputs: RankingInputs, output: RankingOutput
    ) -> tuple[Tensor, Losses]:
        """The weighted loss and its parts."""
        config = self.config
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
        return total, losses

    def _alignment_loss(self, batch: RequestBatch, item_NE: Tensor) -> Tensor:
        # A candidate that was given a random id stands beside another item's vector.
        own_N = batch.item_ids[batch.candidate_item] == batch.candidates.item_id
        content_NK = batch.candidates.content.masked_fill(~own_N[:, None], 0.0)
        count = has_content(content_NK).sum()
        mean = self.encoder.content.alignment_loss(item_NE, content_NK)
        return mean_over_ranks(mean * count, count)

    def _next_token_loss(self, batch: RequestBatch, context: Context | None, item_VE: Tensor) -> Tensor:
        if context is None or self.config.freeze_tower or not self.config.next_token_weight:
            return item_VE.new_zeros(())
        states_TO = self.encoder.states(context, gaps_to_next(batch.history))
        sequences = Sequences(batch.history.lengths, batch.user, batch.event_item, batch.positive)
        pairs = next_token_pairs(sequences, self.config.next_token_newest)
        z_VO = self.encoder.psi(item_VE)
        counts_V = in_batch_counts(sequences, z_VO.size(0))
        negatives = negatives_of_all_ranks(z_VO, sequences, batch.item_ids, log_weights(counts_V, None))
        return contrastive_losses(self.encoder.temperature(), states_TO, z_VO, sequences, negatives, [pairs])[0]


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
