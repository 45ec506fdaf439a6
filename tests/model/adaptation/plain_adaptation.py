"""The adaptation of event vectors in the plainest operations, with autograd: what the served one is held against.

T  events     U  histories     P  pairs     E  width of an item's vector     O  width of a state
K  reference items     R  reference states
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.layers.tokens import gaps_to_next
from pinfm.model.views import hide_items, keep_events

# An event in so many is hidden, counted from the newest.
MASKED_EVERY = 4
CONTRASTIVE_TEMPERATURE = 0.2
# A component of the gradient below this share of its history's root mean square moves nothing.
DEAD_ZONE = 1e-3


def losses(encoder, history, item_TE, reference, config):
    """Each self-supervised loss of every history.

    Args:
        encoder: the tower, in evaluation mode.
        history: T events of U requests.
        item_TE: their item vectors.
        reference: what they are held against.
        config: a `VectorAdaptationConfig`.

    Returns:
        Name of the loss -> (U,), the mean over a history's own pairs; 0 where it has none.
    """
    states_TO = states_of(encoder, history, item_TE)
    owner_T, distance_T = owners(history), distances(history)
    asked_T = distance_T < config.anchors
    hidden_T = distance_T % MASKED_EVERY == MASKED_EVERY - 1
    ahead = range(1, config.window + 1)

    def mean_over_pairs(states_TO, anchors, offsets):
        pairs = [pairs_at(history, anchors & asked_T, offset, reference) for offset in offsets]
        anchors_P, targets_P = (torch.cat(column) for column in zip(*pairs, strict=True))
        losses_P = infonce(encoder, history, states_TO[anchors_P], item_TE, targets_P, reference)
        return mean_of_each(losses_P, owner_T[anchors_P], len(history.lengths))

    masked_TO = states_of(encoder, history, hide_items(item_TE, hidden_T))
    return {
        "next_token": mean_over_pairs(states_TO, asked_T, [1]),
        "multi_token": mean_over_pairs(states_TO, asked_T, ahead),
        "future_token": mean_over_pairs(states_TO, distance_T == config.window, ahead),
        "masked_event": mean_over_pairs(masked_TO, hidden_T, [0]),
        "contrastive": contrastive(encoder, history, item_TE, reference),
    }


def total(encoder, history, item_TE, reference, config):
    """The weighted losses of all histories, added up: what the adaptation lowers."""
    found = losses(encoder, history, item_TE, reference, config)
    return sum(config.weight(name) * loss_U.sum() for name, loss_U in found.items())


def adapt(encoder, history, item_TE, reference, config):
    """(T, E) after K steps of projected sign-gradient descent."""
    scale_T1 = root_mean_squares(history, item_TE)[owners(history)][:, None]
    change_TE = torch.zeros_like(item_TE)
    for _ in range(config.steps):
        moved_TE = (item_TE + change_TE).detach().requires_grad_()
        (grad_TE,) = torch.autograd.grad(
            total(encoder, history, moved_TE, reference, config), moved_TE, materialize_grads=True
        )
        dead_T1 = DEAD_ZONE * root_mean_squares(history, grad_TE)[owners(history)][:, None]
        sign_TE = grad_TE.sign() * (grad_TE.abs() > dead_T1)
        change_TE = change_TE - config.step_size * scale_T1 * sign_TE
        limit_T1 = config.radius * scale_T1
        change_TE = change_TE.clamp(-limit_T1, limit_T1)
    return item_TE + change_TE


def states_of(encoder, history, item_TE):
    """(T, O)."""
    return encoder.states(encoder.encode_context(history, item_TE), gaps_to_next(history))


def owners(history):
    """(T,) the history of each event."""
    return torch.repeat_interleave(history.lengths)


def distances(history):
    """(T,) how many events of its history are newer than each."""
    if not len(history.item_id):
        return torch.zeros_like(history.item_id)
    return torch.cat([torch.arange(length - 1, -1, -1) for length in history.lengths.tolist()])


def pairs_at(history, anchors_T, offset, reference):
    """Event indices of the anchors and of their targets so many events later, where those are positive."""
    distance_T = distances(history)
    anchors_P = (anchors_T & (distance_T >= offset)).nonzero()[:, 0]
    kept_P = positives(history, reference)[anchors_P + offset]
    return anchors_P[kept_P], anchors_P[kept_P] + offset


def positives(history, reference):
    """(T,) bool."""
    return torch.isin(history.action, reference.positive)


def infonce(encoder, history, states_PO, item_TE, targets_P, reference):
    """(P,) -log of the target's share among itself and the reference items that its user did not engage with."""
    owner_T, positive_T = owners(history), positives(history, reference)
    engaged_UK = torch.zeros(len(history.lengths), len(reference.item_id), dtype=torch.bool)
    for u in range(len(history.lengths)):
        engaged_UK[u] = torch.isin(reference.item_id, history.item_id[(owner_T == u) & positive_T])
    logits_PK = states_PO @ reference.z.T / encoder.temperature() + reference.log_weight
    logits_PK = logits_PK.masked_fill(engaged_UK[owner_T[targets_P]], -1e9)
    own_P = (states_PO * encoder.psi(item_TE)[targets_P]).sum(1) / encoder.temperature()
    return F.softplus(logits_PK.logsumexp(1) - own_P)


def contrastive(encoder, history, item_TE, reference):
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


def newest_states(encoder, history, item_TE):
    """(U, O) the state after the newest event of each history; zeros after none."""
    states_TO = states_of(encoder, history, item_TE)
    with_none = torch.cat([states_TO.new_zeros(1, states_TO.size(1)), states_TO])
    return with_none[torch.where(history.lengths > 0, history.lengths.cumsum(0), 0)]


def mean_of_each(losses_P, owner_P, num_histories):
    """(U,) of (P,); 0 of none."""
    sums_U = losses_P.new_zeros(num_histories).index_add(0, owner_P, losses_P)
    counts_U = torch.bincount(owner_P, minlength=num_histories)
    return sums_U / counts_U.clamp(min=1)


def root_mean_squares(history, x_TE) -> Tensor:
    """(U,) of the components of each history's rows."""
    sums_U = x_TE.new_zeros(len(history.lengths)).index_add(0, owners(history), x_TE.square().mean(1))
    return (sums_U / history.lengths.clamp(min=1)).sqrt()
