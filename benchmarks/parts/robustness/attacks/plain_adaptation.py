"""The adaptation of event vectors in the plainest operations, with autograd.

The served one, whose gradient is written by hand, is held against its losses, and an attacker who knows the defence
differentiates through its steps. The sign has no gradient, so a soft one stands for it on the way back (BPDA, Athalye
et al., arXiv 1802.00420).

T  events     U  histories     P  pairs     E  width of an item's vector     O  width of a state
K  reference items     R  reference states
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pinfm.model.adaptation.config import VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference
from pinfm.model.adaptation.vectors import signs
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History
from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, gaps_to_next
from pinfm.model.views import hide_items, keep_events

# An event in so many is hidden, counted from the newest.
MASKED_EVERY = 4
CONTRASTIVE_TEMPERATURE = 0.2


def losses(
    encoder: SequenceEncoder, history: History, item_TE: Tensor, reference: Reference, config: VectorAdaptationConfig
) -> dict[str, Tensor]:
    """Each self-supervised loss of every history.

    Args:
        encoder: the tower, in evaluation mode.
        history: T events of U requests.
        item_TE: their item vectors.
        reference: what they are held against.
        config: of the adaptation; weights are not read.

    Returns:
        Name of the loss -> (U,), the mean over a history's own pairs; 0 where it has none.
    """
    owner_T, distance_T = owners(history), distances(history)
    asked_T = distance_T < config.newest_events
    hidden_T = distance_T % MASKED_EVERY == MASKED_EVERY - 1
    ahead = range(1, config.window + 1)
    z_TO, engaged_UK = encoder.psi(item_TE), engaged(history, reference)

    def mean_over_pairs(states_TO: Tensor, anchors_T: Tensor, offsets: Iterable[int]) -> Tensor:
        pairs = [pairs_at(history, anchors_T & asked_T, offset, reference) for offset in offsets]
        anchors_P, targets_P = (torch.cat(column) for column in zip(*pairs, strict=True))
        logits_PK = states_TO[anchors_P] @ reference.z.T / encoder.temperature() + reference.log_weight
        logits_PK = logits_PK.masked_fill(engaged_UK[owner_T[targets_P]], -1e9)
        own_P = (states_TO[anchors_P] * z_TO[targets_P]).sum(1) / encoder.temperature()
        losses_P = F.softplus(logits_PK.logsumexp(1) - own_P)
        return mean_of_each(losses_P, owner_T[anchors_P], len(history.lengths))

    states_TO = states_of(encoder, history, item_TE)
    masked_TO = undated_states_of(encoder, history, hide_items(item_TE, hidden_T))
    return {
        "next_token": mean_over_pairs(states_TO, asked_T, [1]),
        "multi_token": mean_over_pairs(states_TO, asked_T, ahead),
        "future_token": mean_over_pairs(states_TO, distance_T == config.window, ahead),
        "masked_event": mean_over_pairs(masked_TO, hidden_T, [0]),
        "contrastive": contrastive(encoder, history, item_TE, reference),
    }


def total(
    encoder: SequenceEncoder, history: History, item_TE: Tensor, reference: Reference, config: VectorAdaptationConfig
) -> Tensor:
    """The weighted losses of all histories, added up: what the adaptation lowers."""
    found = losses(encoder, history, item_TE, reference, config)
    return torch.stack([config.weight(name) * loss_U.sum() for name, loss_U in found.items()]).sum()


def adapt(
    encoder: SequenceEncoder, history: History, item_TE: Tensor, reference: Reference, config: VectorAdaptationConfig
) -> Tensor:
    """(T, E) after K steps of projected sign-gradient descent; it has a gradient with respect to `item_TE`."""
    moves_T1 = (distances(history) < config.newest_events)[:, None]
    scale_T1 = root_mean_squares(history, item_TE)[owners(history)][:, None]
    limit_T1 = config.radius * scale_T1
    change_TE = torch.zeros_like(item_TE)
    # Fused attention has no second derivative.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        for _ in range(config.steps):
            moved_TE = item_TE + change_TE
            moved_TE = moved_TE if moved_TE.requires_grad else moved_TE.requires_grad_()
            lost = total(encoder, history, moved_TE, reference, config)
            graph = item_TE.requires_grad
            (grad_TE,) = torch.autograd.grad(lost, moved_TE, create_graph=graph, materialize_grads=True)
            change_TE = change_TE - config.step_size * scale_T1 * soft_signs(history, grad_TE * moves_T1)
            change_TE = torch.minimum(torch.maximum(change_TE, -limit_T1), limit_T1)
            change_TE = change_TE if graph else change_TE.detach()
    return item_TE + change_TE


def soft_signs(history: History, grad_TE: Tensor) -> Tensor:
    """(T, E) the signs of the adaptation; their gradient is that of tanh, in units of the history's own gradient."""
    unit_T1 = root_mean_squares(history, grad_TE.detach())[owners(history)][:, None]
    soft_TE = torch.tanh(grad_TE / unit_T1.clamp(min=1e-30))
    return soft_TE + (signs(grad_TE.detach(), owners(history), history.lengths) - soft_TE).detach()


def states_of(encoder: SequenceEncoder, history: History, item_TE: Tensor) -> Tensor:
    """(T, O), where it is known when the next event comes."""
    return encoder.states(encoder.encode_context(history, item_TE), gaps_to_next(history))


def undated_states_of(encoder: SequenceEncoder, history: History, item_TE: Tensor) -> Tensor:
    """(T, O), where it is not: as in pretraining, for hidden items and for views."""
    unknown_T = torch.full_like(history.timestamp, NUM_GAP_BUCKETS)
    return encoder.states(encoder.encode_context(history, item_TE), unknown_T)


def owners(history: History) -> Tensor:
    """(T,) the history of each event."""
    return torch.repeat_interleave(history.lengths)


def distances(history: History) -> Tensor:
    """(T,) how many events of its history are newer than each."""
    if not len(history.item_id):
        return torch.zeros_like(history.item_id)
    return torch.cat([torch.arange(length - 1, -1, -1) for length in history.lengths.tolist()])


def pairs_at(history: History, anchors_T: Tensor, offset: int, reference: Reference) -> tuple[Tensor, Tensor]:
    """Event indices of the anchors and of their targets so many events later, where those are positive."""
    anchors_P = (anchors_T & (distances(history) >= offset)).nonzero()[:, 0]
    kept_P = torch.isin(history.action, reference.positive)[anchors_P + offset]
    return anchors_P[kept_P], anchors_P[kept_P] + offset


def engaged(history: History, reference: Reference) -> Tensor:
    """(U, K) bool, the reference items that each user engaged with positively, which are no negatives."""
    owner_T, positive_T = owners(history), torch.isin(history.action, reference.positive)
    engaged_UK = torch.zeros(len(history.lengths), len(reference.item_id), dtype=torch.bool)
    for u in range(len(history.lengths)):
        engaged_UK[u] = torch.isin(reference.item_id, history.item_id[(owner_T == u) & positive_T])
    return engaged_UK


def contrastive(encoder: SequenceEncoder, history: History, item_TE: Tensor, reference: Reference) -> Tensor:
    """(U,) the events at even and at odd distance from the newest: two views that have to know each other."""
    distance_T = distances(history)
    first_UO, second_UO = (
        newest_states(encoder, keep_events(history, kept_T), item_TE[kept_T])
        for kept_T in (distance_T % 2 == 0, distance_T % 2 == 1)
    )
    # Both have two events.
    told_U = history.lengths >= 4
    own_U = (first_UO * second_UO).sum(1) / CONTRASTIVE_TEMPERATURE
    sides = [
        F.softplus((view_UO @ reference.states.T / CONTRASTIVE_TEMPERATURE).logsumexp(1) - own_U)
        for view_UO in (first_UO, second_UO)
    ]
    return torch.where(told_U, (sides[0] + sides[1]) / 2, torch.zeros_like(own_U))


def newest_states(encoder: SequenceEncoder, history: History, item_TE: Tensor) -> Tensor:
    """(U, O) the state after the newest event of each history; zeros after none."""
    states_TO = undated_states_of(encoder, history, item_TE)
    with_none = torch.cat([states_TO.new_zeros(1, states_TO.size(1)), states_TO])
    return with_none[torch.where(history.lengths > 0, history.lengths.cumsum(0), 0)]


def mean_of_each(losses_P: Tensor, owner_P: Tensor, num_histories: int) -> Tensor:
    """(U,) of (P,); 0 of none."""
    sums_U = losses_P.new_zeros(num_histories).index_add(0, owner_P, losses_P)
    counts_U = torch.bincount(owner_P, minlength=num_histories)
    return sums_U / counts_U.clamp(min=1)


def root_mean_squares(history: History, x_TE: Tensor) -> Tensor:
    """(U,) of the components of each history's rows."""
    sums_U = x_TE.new_zeros(len(history.lengths)).index_add(0, owners(history), x_TE.square().mean(1))
    return (sums_U / history.lengths.clamp(min=1)).sqrt()
