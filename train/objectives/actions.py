"""The next-action loss: what will the user do with the item that comes next?

The tower reads the item as it reads a candidate, against the events before it, so pretraining trains the very pass that
a ranker is given. Where events tell what was passed over too (`skip`), that is ranking without impressions.

N  candidates     V  unique items     E  width of an item's vector     D  width of the transformer     A  actions
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import Candidates
from pinfm.model.layers.mlp import MLP
from pinfm.model.next_actions import next_actions
from pinfm.train.distributed import mean_over_ranks
from pinfm.train.loader.batches import SegmentBatch


class NextActionLoss(nn.Module):
    """Binary cross-entropy of every action: mean over candidates, sum over actions.

    Args:
        num_actions: A.
        out_dim: of the tower.
        tells_surface: candidates are told where they are met, as those of the dataset's requests are.
    """

    def __init__(self, num_actions: int, out_dim: int, tells_surface: bool) -> None:
        super().__init__()
        self.num_actions, self.tells_surface = num_actions, tells_surface
        self.head = MLP([out_dim, out_dim, num_actions])

    def forward(self, encoder: SequenceEncoder, batch: SegmentBatch, context: Context, item_VE: Tensor) -> Tensor:
        """The loss of a batch of segments.

        Args:
            encoder: the tower.
            batch: the segments.
            context: they, encoded.
            item_VE: vectors of the batch's unique items.
        """
        history = batch.history
        found = next_actions(history, batch.item_index, self.num_actions)
        item_N = batch.item_index[found.event]
        candidates = Candidates(
            lengths=found.lengths,
            request_timestamp=history.timestamp[found.first],
            item_id=batch.item_ids[item_N],
            # What fine-tuning alone reads.
            created_at=torch.zeros_like(item_N),
            content=item_VE.new_zeros(item_N.size(0), 0),
            surface=history.surface[found.first] if self.tells_surface else None,
        )
        tokens_ND = encoder.tokens.candidates(history, found.reads, candidates, item_VE[item_N])
        # Early fusion without the learnable token, which fine-tuning adds.
        rows_ND = encoder.fusion.dcat.cross(context, tokens_ND, candidates.lengths, found.reads)
        logits_NA = self.head(encoder.phi_out(rows_ND)).float()
        losses_NA = F.binary_cross_entropy_with_logits(logits_NA, found.actions, reduction="none")
        return mean_over_ranks(losses_NA.sum(), torch.tensor(item_N.size(0), device=item_N.device))
