"""What a step of pretraining minimises: dense tower and batch in, one loss and its parts out.

Sums are divided by the count over all ranks (`mean_over_ranks`) and negatives are gathered from all ranks, so the loss
does not depend on how the batch is spread.

    T  events     V  unique items     E  width of an item's vector     O  width of H
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor

from pinfm.embeddings.sharded.collections import concatenate_sub_tables
from pinfm.embeddings.specs import IdTable
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.layers.tokens import gaps_to_next
from pinfm.model.losses import (
    Negatives,
    Sequences,
    future_token_pairs,
    in_batch_counts,
    log_weights,
    masked_event_pairs,
    multi_token_pairs,
    next_token_pairs,
)
from pinfm.train.config import PretrainConfig
from pinfm.train.distributed import sum_over_ranks
from pinfm.train.loader.batches import SegmentBatch
from pinfm.train.objectives.actions import NextActionLoss
from pinfm.train.objectives.contrastive import contrastive_losses, log_expected, negatives_of_all_ranks
from pinfm.train.objectives.views import masked_event_states, view_loss

Vectors = Mapping[str, JaggedTensor]
Losses = dict[str, Tensor]


class PretrainObjective(nn.Module):
    """The weighted sum of the self-supervised losses of a batch of segments; a loss of weight 0 is not computed.

    Args:
        encoder: the tower's dense part.
        item_table: the item id table.
        config: weights and windows.
        next_action: that loss; None where it has no weight.
    """

    def __init__(
        self,
        encoder: SequenceEncoder,
        item_table: IdTable,
        config: PretrainConfig,
        next_action: NextActionLoss | None = None,
    ) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"encoder": encoder})
        self.next_action = next_action
        self.item_table, self.config = item_table, config

    def forward(self, batch: SegmentBatch, items: Vectors) -> tuple[Tensor, Losses]:
        """The weighted loss and its parts."""
        config, encoder = self.config, self.model["encoder"]
        assert isinstance(encoder, SequenceEncoder)
        item_VE = concatenate_sub_tables(items, self.item_table)
        item_TE, z_VO = item_VE[batch.item_index], encoder.psi(item_VE)
        sequences = Sequences(batch.history.lengths, batch.user, batch.item_index, batch.positive)
        negatives = self._negatives(z_VO, sequences, batch)

        def named(states_TO: Tensor, pair_sets: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
            return contrastive_losses(encoder.temperature(), states_TO, z_VO, sequences, negatives, pair_sets)

        losses: Losses = {}
        pairs = self._token_pairs(sequences, batch)
        if pairs or self.next_action is not None:
            context = encoder.encode_context(batch.history, item_TE)
        if pairs:
            states_TO = encoder.states(context, gaps_to_next(batch.history))
            losses |= dict(zip(pairs, named(states_TO, list(pairs.values())), strict=True))
        if config.masked_event_weight:
            pairs["masked_event_loss"] = masked_event_pairs(sequences, batch.hidden)
            states_TO = masked_event_states(encoder, batch.history, item_TE, batch.hidden)
            losses["masked_event_loss"] = named(states_TO, [pairs["masked_event_loss"]])[0]
        weights = self._weights({name: len(anchors) for name, (anchors, _) in pairs.items()})
        if config.contrastive_weight:
            losses["contrastive_loss"] = view_loss(encoder, batch, item_TE, config.contrastive_temperature)
            weights["contrastive_loss"] = torch.tensor(config.contrastive_weight)
        if self.next_action is not None:
            losses["next_action_loss"] = self.next_action(encoder, batch, context, item_VE)
            weights["next_action_loss"] = torch.tensor(config.next_action_weight)
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return total, {"loss": total, **losses, "temperature": encoder.temperature()}

    def _weights(self, num_pairs: Mapping[str, int]) -> dict[str, Tensor]:
        """What the mean of each loss that names items counts for, by the loss's name.

        Args:
            num_pairs: of each loss in this rank's part of the batch.
        """
        given = torch.tensor([getattr(self.config, f"{name.removesuffix('_loss')}_weight") for name in num_pairs])
        if self.config.loss_weights == "by_pairs":
            shares = given * sum_over_ranks(torch.tensor([float(count) for count in num_pairs.values()]))
            given = shares / shares.sum().clamp(min=1e-9)
        return dict(zip(num_pairs, given, strict=True))

    def _token_pairs(self, sequences: Sequences, batch: SegmentBatch) -> dict[str, tuple[Tensor, Tensor]]:
        """The pairs of each loss that looks ahead from the states of the segments as they are."""
        config = self.config
        pairs = {}
        if config.next_token_weight:
            pairs["next_token_loss"] = next_token_pairs(sequences)
        if config.multi_token_weight:
            pairs["multi_token_loss"] = multi_token_pairs(sequences, batch.ahead)
        if config.future_token_weight:
            pairs["future_token_loss"] = future_token_pairs(sequences, config.future_anchor_length, config.window)
        return pairs

    def _negatives(self, z_VO: Tensor, sequences: Sequences, batch: SegmentBatch) -> Negatives:
        if self.config.negatives == "catalogue":
            # Every rank compares with the whole catalogue already.
            nobody_SV = torch.zeros(0, z_VO.size(0), dtype=torch.bool, device=z_VO.device)
            return Negatives(z_VO, log_weights(batch.drawn, None), nobody_SV)
        if self.config.negatives == "sampled":
            log_weight_V = log_weights(batch.drawn, log_expected(batch.drawn, batch.log_share))
            # The others weigh nothing, and are most items of a batch.
            return negatives_of_all_ranks(z_VO, sequences, batch.item_ids, log_weight_V, among=batch.drawn_items)
        counts_V = in_batch_counts(sequences, z_VO.size(0))
        log_q_V = log_expected(counts_V, batch.log_share) if self.config.log_q else None
        return negatives_of_all_ranks(z_VO, sequences, batch.item_ids, log_weights(counts_V, log_q_V))
