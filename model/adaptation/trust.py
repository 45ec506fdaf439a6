"""Trust weights: of which events the rest of the history says that somebody else put them there.

The tower's states after a user's events tell what this user comes to next, other users' states what anybody comes to.
With the softmax of the pretraining losses, p(item | state) = exp(<H, z> / t) / sum_k w_k exp(<H, z_k> / t) over the
reference's items, an event's item is explained by

    own     mean of p over the user's states after other events (anchors), weighted by 1 / distance in events
    others  mean of p over the reference's states
    trust = own / (own + others)

which is Bayes' rule at even odds: the probability that the user brought the event, not somebody who stands for the
public. A mean of probabilities asks for one interest among several that fits; interests come and go, so near events
know more than far ones. The public in the denominator keeps popularity out of it: a niche that is the user's own is
not punished, a popular item that was injected is not excused. Of the anchors only the event itself is left out: states
after later events have read it, which speaks for it a little, whoever put it there.

No event of the history is encoded anew: the context holds all that a few more rows of its last layer need.

    U  requests     T  events     M  anchors of all histories     A  most anchors of a history     L  longest history
    K, R  items and states of the reference     O  width of H and z
"""

import math

import torch
from torch import Tensor, nn

from pinfm.model.adaptation.config import TrustConfig
from pinfm.model.adaptation.reference import Reference
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History
from pinfm.model.layers.jagged import layout, pad, positions, starts, unpad
from pinfm.model.layers.logsumexp import NEVER
from pinfm.model.layers.tokens import gaps_to_next
from pinfm.model.views import keep_events


class TrustWeights(nn.Module):
    """How much each event of a history is trusted, and histories without the events that are not.

    Args:
        encoder: the tower, in evaluation mode; shared, not copied.
        reference: items and states of other users.
        config: how many anchors are asked, and below which trust an event is dropped.
    """

    z_KO: Tensor
    log_weight_K: Tensor
    others_RO: Tensor
    others_sum_R: Tensor

    def __init__(self, encoder: SequenceEncoder, reference: Reference, config: TrustConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.anchors, self.threshold, self.never = config.anchors, config.threshold, NEVER
        # Of the weights as they were trained, not as a smaller type rounds them.
        self.scale = 1.0 / float(encoder.temperature())
        self.register_buffer("z_KO", reference.z.float(), persistent=False)
        self.register_buffer("log_weight_K", reference.log_weight.float(), persistent=False)
        others_RO = reference.states.float() * self.scale
        self.register_buffer("others_RO", others_RO, persistent=False)
        self.log_others = math.log(max(others_RO.size(0), 1))
        self.register_buffer("others_sum_R", self._log_sums(others_RO), persistent=False)

    def forward(self, history: History, context: Context, item_TE: Tensor) -> Tensor:
        """Each event's trust; what a history is given does not depend on the others of the batch.

        Args:
            history: T events of U requests.
            context: of these histories, from `SequenceEncoder.encode_context`.
            item_TE: the events' item vectors.

        Returns:
            (T,) float32 in [0, 1]; 1 for an event that stands alone, of which nobody can say anything.
        """
        rows_M, anchors_U = anchor_rows(history.lengths, self.anchors)
        if rows_M.size(0) == 0:
            return torch.ones([0], device=item_TE.device)
        gap_M = gaps_to_next(history)[rows_M]
        states_MO = self.encoder.states_at(context, gap_M, rows_M).float() * self.scale
        z_TO = self.encoder.psi(item_TE).float()
        own_T = self._own(states_MO, rows_M, anchors_U, z_TO, history.lengths)
        log_p_TR = torch.addmm(-self.others_sum_R, z_TO, self.others_RO.T)
        others_T = torch.logsumexp(log_p_TR, 1) - self.log_others
        return torch.sigmoid(own_T - others_T)

    @torch.jit.export
    def drop(self, history: History, context: Context, trust_T: Tensor) -> tuple[History, Context]:
        """The histories and their contexts without the events whose trust lies below the threshold.

        What later events had read of a dropped one stays in them: in towers of more than one layer, and where fusion
        is late, a trace of it is left.

        Args:
            history: T events of U requests.
            context: of these histories.
            trust_T: from `forward`.
        """
        # Adding log trust to the logits of attention defended no better, and gives every candidate's attention a mask.
        keep_T = trust_T >= self.threshold
        if bool(keep_T.all()):
            return history, context
        return keep_events(history, keep_T), self.encoder.fusion.keep(context, keep_T)

    def _own(self, states_MO: Tensor, rows_M: Tensor, anchors_U: Tensor, z_TO: Tensor, lengths_U: Tensor) -> Tensor:
        """(T,) log of the mean of p over the anchors, the near ones counting more; inf where there is none to ask."""
        of_anchors, of_events = layout(anchors_U), layout(lengths_U)
        # One more column takes each anchor's denominator from all of its logits.
        states = torch.cat([states_MO, -self._log_sums(states_MO)[:, None]], dim=1)
        items = torch.cat([z_TO, torch.ones_like(z_TO[:, :1])], dim=1)
        log_p_UAL = torch.bmm(pad(states, of_anchors), pad(items, of_events).transpose(1, 2))
        place_M1 = (rows_M - starts(lengths_U)[of_anchors.owners])[:, None].float()
        place_UA1 = pad(place_M1 + 1.0, of_anchors) - 1.0  # -1 in a slot without an anchor
        distance_UAL = (place_UA1 - torch.arange(of_events.max_length, device=rows_M.device)).abs()
        # Nobody is his own witness: the state after an event has read it.
        silent_UAL = (place_UA1 < 0) | (distance_UAL == 0)
        log_weight_UAL = (-distance_UAL.log()).masked_fill(silent_UAL, self.never)
        own_UL = torch.logsumexp(log_p_UAL + log_weight_UAL, 1) - torch.logsumexp(log_weight_UAL, 1)
        own_UL = own_UL.masked_fill(silent_UAL.all(1), math.inf)
        return unpad(own_UL[:, :, None], of_events)[:, 0]

    def _log_sums(self, states_BO: Tensor) -> Tensor:
        """(B,) log of the softmax's denominator over the reference's items."""
        return torch.logsumexp(torch.addmm(self.log_weight_K, states_BO, self.z_KO.T), 1)


def anchor_rows(lengths_U: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The events whose states are asked: evenly spaced in each history, always its newest.

    Args:
        lengths_U: events of each history.
        most: anchors of a history; all events of one that is not longer.

    Returns:
        (M,) int64 rows, ascending, and (U,) int64, how many of them are of each history.
    """
    anchors_U = lengths_U.clamp(max=most)
    owner_M = torch.repeat_interleave(anchors_U)
    from_newest_M = anchors_U[owner_M] - 1 - positions(anchors_U, owner_M)
    back_M = torch.div(from_newest_M * lengths_U[owner_M], anchors_U[owner_M], rounding_mode="floor")
    return starts(lengths_U)[owner_M] + lengths_U[owner_M] - 1 - back_M, anchors_U
