"""Between jagged rows and padded blocks, in torch operations that TorchScript knows.

lengths_B = [3, 0, 1]        rows a b c d (T = 4)        padded, L = 3:  a b c
                                                                         . . .
                                                                         d . .
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Layout(NamedTuple):
    """Where the rows of B sequences stand in a padded block of B x L slots.

    Args:
        slots: (T,) int64, the slot of each row.
        owners: (T,) int64, the sequence of each row.
        num_sequences: B.
        max_length: L, at least 1, so that attention over an empty batch is still defined.
    """

    slots: Tensor
    owners: Tensor
    num_sequences: int
    max_length: int


def layout(lengths_B: Tensor) -> Layout:
    """The padded layout of sequences with these lengths (int64)."""
    owners_T = torch.repeat_interleave(lengths_B)
    max_length = 1
    if owners_T.numel() > 0:
        max_length = int(lengths_B.max().item())
    slots_T = owners_T * max_length + positions(lengths_B, owners_T)
    return Layout(slots_T, owners_T, lengths_B.size(0), max_length)


def starts(lengths_B: Tensor) -> Tensor:
    """(B,) int64: the row at which each sequence starts."""
    return torch.cumsum(lengths_B, 0) - lengths_B


def positions(lengths_B: Tensor, owners_T: Tensor) -> Tensor:
    """(T,) int64: 0, 1, 2, ... within each sequence."""
    return torch.arange(owners_T.size(0), device=lengths_B.device) - starts(lengths_B)[owners_T]


def pad(x_TD: Tensor, where: Layout) -> Tensor:
    """Lays rows out as (B, L, D), with zeros after the end of each sequence."""
    if x_TD.size(0) == where.num_sequences * where.max_length:  # all of one length: the rows are the block
        return x_TD.reshape(where.num_sequences, where.max_length, x_TD.size(1))
    block = torch.zeros(where.num_sequences * where.max_length, x_TD.size(1), dtype=x_TD.dtype, device=x_TD.device)
    return block.index_copy(0, where.slots, x_TD).view(where.num_sequences, where.max_length, x_TD.size(1))


def unpad(x_BLD: Tensor, where: Layout) -> Tensor:
    """(T, D): the inverse of `pad`."""
    if where.slots.size(0) == where.num_sequences * where.max_length:
        return x_BLD.flatten(0, 1)
    return x_BLD.flatten(0, 1).index_select(0, where.slots)
