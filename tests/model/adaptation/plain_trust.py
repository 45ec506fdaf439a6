"""Trust weights one event and one anchor at a time: what the served ones are held against."""

import math

import torch

from pinfm.model.layers.tokens import gaps_to_next


def anchor_places(length, most):
    """The newest event and those before it in even steps, rounded down; places in ascending order."""
    count = min(length, most)
    return sorted(length - 1 - k * length // count for k in range(count))


def own_and_others(encoder, history, item_TE, reference, most):
    """For each event the mean of p over the user's own anchors, None where there is none, and over the public."""
    states_TO = encoder.states(encoder.encode_context(history, item_TE), gaps_to_next(history))
    z_TO, scale = encoder.psi(item_TE), 1 / float(encoder.temperature())

    def p(state, z):
        weights = torch.exp(reference.log_weight + reference.z @ state * scale)
        return math.exp(float(state @ z) * scale) / float(weights.sum())

    found, first = [], 0
    for length in history.lengths.tolist():
        places = anchor_places(length, most)
        for j in range(length):
            z = z_TO[first + j]
            heard = {i: p(states_TO[first + i], z) for i in places if i != j}
            total = sum(1 / abs(i - j) for i in heard)
            own = sum(value / abs(i - j) for i, value in heard.items()) / total if heard else None
            found.append((own, sum(p(state, z) for state in reference.states) / len(reference.states)))
        first += length
    return found


def trust(encoder, history, item_TE, reference, most):
    """(T,) own / (own + others), 1 where nobody can say anything."""
    pairs = own_and_others(encoder, history, item_TE, reference, most)
    return torch.tensor([1.0 if own is None else own / (own + others) for own, others in pairs])
