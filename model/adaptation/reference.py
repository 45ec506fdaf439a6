"""What a history is held against: items and states of others, fixed when the model is exported.

In training other users of the batch serve as negatives. A served history must not depend on what stands beside it in a
batch, and none of its own events is a witness, so the artefact carries a sample of both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History
from pinfm.model.layers.tokens import gaps_to_next


class Reference(NamedTuple):
    """Items and states of other users.

    Args:
        item_id: (K,) int64, ascending without duplicates.
        z: (K, O), psi of the items.
        log_weight: (K,) float32, log of how often each stands in the histories that the sample was taken from.
        states: (R, O), states after events of those histories.
        positive: (P,) int64, codes of the actions whose events are targets.
    """

    item_id: Tensor
    z: Tensor
    log_weight: Tensor
    states: Tensor
    positive: Tensor


@torch.no_grad()
def make_reference(
    encoder: SequenceEncoder,
    history: History,
    item_TE: Tensor,
    positive_codes: Sequence[int],
    num_items: int = 512,
    num_states: int = 256,
) -> Reference:
    """A reference from histories of the training log.

    Args:
        encoder: the tower, in evaluation mode.
        history: T events of many users.
        item_TE: their item vectors.
        positive_codes: actions that count as targets, as `InputSchema.positive_codes` has them.
        num_items: K, at most: the most frequent ones among positive events.
        num_states: R, at most: evenly spaced among all events.

    Raises:
        UserError: no event is positive, so nothing is known of what users come to.
    """
    positive = torch.tensor(positive_codes, dtype=torch.int64, device=history.action.device)
    rows_P = torch.isin(history.action, positive).nonzero()[:, 0]
    if rows_P.size(0) == 0:
        raise UserError(
            f"no event of the histories to hold others against has a positive action (codes {list(positive_codes)}); "
            "give histories with some."
        )
    item_V, first_V, count_V = _unique(history.item_id[rows_P])
    kept = torch.argsort(count_V, descending=True, stable=True)[:num_items].sort().values
    states_TO = encoder.states(encoder.encode_context(history, item_TE), gaps_to_next(history))
    num_events = states_TO.size(0)
    spaced = torch.linspace(0, max(num_events - 1, 0), min(num_states, num_events)).round().long()
    z_KO = encoder.psi(item_TE[rows_P[first_V[kept]]])
    return Reference(item_V[kept], z_KO, count_V[kept].float().log(), states_TO[spaced], positive)


def _unique(ids_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct ids ascending, the first row of each, and its count."""
    ids_V, index_T, count_V = torch.unique(ids_T, return_inverse=True, return_counts=True)
    rows_T = torch.arange(ids_T.size(0), device=ids_T.device)
    first_V = torch.full_like(ids_V, ids_T.size(0)).scatter_reduce(0, index_T, rows_T, "amin")
    return ids_V, first_V, count_V
