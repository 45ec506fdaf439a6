"""Attention among the events of many short histories on a CPU: a few padded blocks, each of histories of like length.

Next to one history of fifty events a padded block gives everybody fifty slots, and a score for each two of them; most
users have six. So histories are put together by length, longest with longest, in as many blocks as earn their calls:

    lengths_S = [2, 9, 3, 8]     ->     blocks of 2 x 3 and 2 x 9 slots, in place of 4 x 9

    S  histories     T  their events     M  slots of all blocks
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.layers.jagged import positions, starts

# A call forward and backward takes about as long as so many scores of padding, divided by the width of the transformer.
PADDING_PER_CALL = 1 << 18


class Groups(NamedTuple):
    """Histories in padded blocks.

    Args:
        counts: histories of each block.
        lengths: slots of each history of a block.
        rows: (M,) int64, the event in each slot; behind the newest of a history that one again, which nothing that
            stands before it looks at.
        slots: (T,) int64, the slot of each event.
    """

    counts: list[int]
    lengths: list[int]
    rows: Tensor
    slots: Tensor


def group_lengths(lengths_S: Tensor, width: int, padding_per_call: int = PADDING_PER_CALL) -> list[int]:
    """The longest history of each block, ascending.

    A block is cut where that saves most scores of padding, and its shorter part again, for as long as a cut saves
    more than another call costs.

    Args:
        lengths_S: int64, events of each history.
        width: of the transformer.
        padding_per_call: see `PADDING_PER_CALL`; TorchScript reads no globals, but takes defaults from them.
    """
    # (longest + 1,): histories of at most so many events; an empty one needs no slot.
    shorter = torch.cumsum(torch.bincount(lengths_S), 0) - (lengths_S == 0).sum()
    scores = torch.arange(shorter.size(0), device=lengths_S.device).square()
    cut = shorter.size(0) - 1
    found: list[int] = []
    pays = True
    while pays:
        found = [cut] + found  # noqa: RUF005  # TorchScript unpacks no list
        saved = shorter[:cut] * (cut * cut - scores[:cut])
        pays = cut > 1 and int(saved.max()) * width > padding_per_call
        if pays:
            cut = int(saved.argmax())
    return found


def groups_of(lengths_S: Tensor, longest: list[int]) -> Groups:
    """The blocks of histories.

    Args:
        lengths_S: int64, events of each history.
        longest: of each block, from `group_lengths`.
    """
    bounds = torch.tensor(longest, device=lengths_S.device)
    # The histories that have events, by block.
    block_S = torch.bucketize(lengths_S.contiguous(), bounds)
    order = torch.argsort(block_S.masked_fill(lengths_S == 0, len(longest)), stable=True)
    order = order[: int((lengths_S > 0).sum())]
    padded = bounds[block_S[order]]
    owners_M = torch.repeat_interleave(padded)
    from_M = positions(padded, owners_M)
    newest = lengths_S[order] - 1
    rows_M = starts(lengths_S)[order][owners_M] + torch.minimum(from_M, newest[owners_M])
    is_event_M = from_M <= newest[owners_M]
    slots_T = torch.empty(int(lengths_S.sum()), dtype=torch.int64, device=lengths_S.device)
    slots_T[rows_M[is_event_M]] = torch.nonzero(is_event_M)[:, 0]
    counts: list[int] = torch.bincount(block_S[order], minlength=len(longest)).tolist()
    return Groups(counts, longest, rows_M, slots_T)


def attend_causally(query_THd: Tensor, keys_THd: Tensor, values_THd: Tensor, groups: Groups) -> Tensor:
    """(T, H, d); see `merged.attend_causally`."""
    sizes = [count * groups.lengths[i] for i, count in enumerate(groups.counts)]
    queries = torch.split(query_THd.index_select(0, groups.rows), sizes)
    keys = torch.split(keys_THd.index_select(0, groups.rows), sizes)
    values = torch.split(values_THd.index_select(0, groups.rows), sizes)
    attended: list[Tensor] = []
    for i, count in enumerate(groups.counts):
        shape = [count, groups.lengths[i], query_THd.size(1), query_THd.size(2)]
        query, key = queries[i].view(shape).transpose(1, 2), keys[i].view(shape).transpose(1, 2)
        value = values[i].view(shape).transpose(1, 2)
        block = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        attended.append(block.transpose(1, 2).flatten(0, 1))
    return torch.cat(attended).index_select(0, groups.slots)
