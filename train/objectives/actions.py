"""The next-action loss: what will the user do with the item that comes next?

The tower reads the item as it reads a candidate, against the events before it, so pretraining trains the very pass that
a ranker is given. Where events tell what was passed over too (`skip`), that is ranking without impressions.

N  candidates     V  unique items     E  width of an item's vector     D  width of the transformer     A  actions
M  items that users met     C  items offered for each: its own, and unmet ones
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
    """Binary cross-entropy of every action: mean over candidates, sum over actions. With an unmet item nothing is done.

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
        offered_MC = torch.cat([batch.item_index[:, None], batch.unmet], dim=1)[found.event]
        item_N = offered_MC.flatten()
        candidates = Candidates(
            lengths=found.lengths * offered_MC.size(1),
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
        actions_MCA = F.pad(found.actions[:, None, :], (0, 0, 0, offered_MC.size(1) - 1))
        losses_N = F.binary_cross_entropy_with_logits(logits_NA, actions_MCA.flatten(0, 1), reduction="none").sum(1)
        counts_N = counted(batch, found.event, offered_MC).flatten()
        return mean_over_ranks((losses_N * counts_N).sum(), counts_N.sum())


def counted(batch: SegmentBatch, event_M: Tensor, offered_MC: Tensor) -> Tensor:
    """(M, C) float32: 1 for what users met, and for what was offered beside it and is nowhere in the segment."""
    owner_T = torch.repeat_interleave(batch.history.lengths)
    met_SV = torch.zeros(
        batch.history.lengths.size(0), batch.item_ids.size(0), dtype=torch.bool, device=offered_MC.device
    )
    met_SV[owner_T, batch.item_index] = True
    counts_MC = (~met_SV[owner_T[event_M][:, None], offered_MC]).float()
    counts_MC[:, 0] = 1.0
    return counts_MC
