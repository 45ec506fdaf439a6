"""Parts of histories: some of the events, or all of them with some items hidden."""

import torch
from torch import Tensor

from pinfm.model.inputs import History


def keep_events(history: History, keep_T: Tensor) -> History:
    """A history of some of its events.

    Args:
        history: T events of U requests.
        keep_T: bool, which of them stay.

    Returns:
        The events that stay, in their order, of the same U requests.
    """
    return History(
        kept_lengths(history.lengths, keep_T),
        history.item_id[keep_T],
        history.action[keep_T],
        history.surface[keep_T],
        history.timestamp[keep_T],
    )


def kept_lengths(lengths_U: Tensor, keep_T: Tensor) -> Tensor:
    """(U,) int64: how many rows of each sequence stay, where `keep_T` (T,) says which."""
    owner_T = torch.repeat_interleave(lengths_U)
    return torch.zeros_like(lengths_U).index_add(0, owner_T, keep_T.to(lengths_U.dtype))


def hide_items(item_TE: Tensor, hidden_T: Tensor) -> Tensor:
    """Event vectors (T, E) with zeros where the item is hidden; action, surface and time of such an event are told."""
    return item_TE.masked_fill(hidden_T[:, None], 0.0)
