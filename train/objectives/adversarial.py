"""Adversarial fine-tuning: histories that are moved so that the ranking loss rises.

The fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572), of embeddings as in adversarial personalised
ranking (He et al. 2018, arXiv 1808.03908). Of the events alone: what an outsider can write into is the history, while
the candidates' vectors are the catalogue's.

    T  events     E  width of an item's vector
"""

import torch
from torch import Tensor

from pinfm.model.ranking.joint import RankingInputs
from pinfm.model.views import root_mean_square


def with_gradient(inputs: RankingInputs) -> RankingInputs:
    """The same, whose event vectors can be asked for a gradient though item tables are frozen."""
    if inputs.item_TE.requires_grad:
        return inputs
    return inputs._replace(item_TE=inputs.item_TE.detach().requires_grad_())


def moved_events(inputs: RankingInputs, ranking_loss: Tensor, radius: float) -> RankingInputs:
    """The inputs with every event vector moved by radius x (root mean square of its history) x sign(gradient).

    Args:
        inputs: what `ranking_loss` was computed of; its event vectors have a gradient.
        ranking_loss: that is to rise; its graph is kept.
        radius: in root mean squares of a history's components.

    Returns:
        Inputs whose event vectors pass their gradient on to the items: how far they are moved counts as given.
    """
    (gradient_TE,) = torch.autograd.grad(ranking_loss, inputs.item_TE, retain_graph=True)
    lengths_S = inputs.history.lengths
    owner_T = torch.repeat_interleave(lengths_S)
    size_S = root_mean_square(inputs.item_TE.detach(), owner_T, lengths_S)
    return inputs._replace(item_TE=inputs.item_TE + radius * size_S[owner_T, None] * gradient_TE.sign())
