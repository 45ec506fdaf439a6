"""Parts of histories: some of the events, or all of them with some items hidden; and the size of their vectors."""

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


def two_views(history: History, item_TE: Tensor, first_T: Tensor) -> tuple[History, Tensor]:
    """Cuts each history into two, so that one encoding serves both.

    Args:
        history: T events of U requests.
        item_TE: their item vectors.
        first_T: bool, which events the first view keeps; the second keeps the others.

    Returns:
        2U histories, the U first views before the U second, and the item vectors of their events.
    """
    views = joined([keep_events(history, first_T), keep_events(history, ~first_T)])
    return views, torch.cat([item_TE[first_T], item_TE[~first_T]])


def joined(histories: list[History]) -> History:
    """All of the histories, one after the other."""
    return History(
        torch.cat([history.lengths for history in histories]),
        torch.cat([history.item_id for history in histories]),
        torch.cat([history.action for history in histories]),
        torch.cat([history.surface for history in histories]),
        torch.cat([history.timestamp for history in histories]),
    )


def newest_events(lengths_U: Tensor) -> Tensor:
    """(U,) int64: the row of each history's newest event; no row of its own where a history is empty."""
    return torch.cumsum(lengths_U, 0) - 1


def root_mean_square(item_TE: Tensor, owner_T: Tensor, lengths_U: Tensor) -> Tensor:
    """(U,) of `item_TE`'s type: the root mean square of all components of a history's vectors; 0 of an empty history.

    Args:
        item_TE: item vectors of T events.
        owner_T: the history of each.
        lengths_U: events of each history.
    """
    square_T = item_TE.float().square().mean(1)
    sum_U = torch.zeros_like(lengths_U, dtype=torch.float32).index_add(0, owner_T, square_T)
    return (sum_U / lengths_U.clamp(min=1)).sqrt().to(item_TE.dtype)
