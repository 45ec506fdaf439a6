"""DCAT's attention with the same bits for a candidate whatever stands beside it: on its own history, in tiles of rows.

A fused kernel rounds by the sizes of the block that it is given. So the candidates of each request are laid out in
tiles of 16, and each request meets its own history in a call of its own: only the history's length tells the sizes.

    candidates_U = [3, 17]     ->     rows  a b c . . .  |  d e ... s  |  t . . .        3 tiles, 48 rows

    U  requests     N  their candidates     P  rows of all tiles     T  events     H  heads     d  width of a head
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pinfm.model.attention.merged import to_rows
from pinfm.model.attention.runs import rows_of
from pinfm.model.inputs import Reads
from pinfm.model.layers.jagged import positions, starts

# Rows: few, so that requests of few candidates waste little, and twice as many values as the widest register holds.
TILE = 16


class Tiles(NamedTuple):
    """Candidates in tiles.

    Args:
        slots: (N,) int64, the row of each candidate.
        tile: rows of one.
        rows: P.
        requests: of each that has candidates: its tiles, the row of its first event, and its events.
    """

    slots: Tensor
    tile: int
    rows: int
    requests: list[list[int]]


def tiles_of(candidates_U: Tensor, reads: Reads, lengths_S: Tensor, tile: int = TILE) -> Tiles:
    """The tiles of requests that see all of their histories.

    Args:
        candidates_U: int64, candidates of each request.
        reads: which history each request reads.
        lengths_S: int64, events of each history.
        tile: rows of one.
    """
    tiles_U = torch.div(candidates_U + tile - 1, tile, rounding_mode="floor")
    owner_N = torch.repeat_interleave(candidates_U)
    slots_N = (starts(tiles_U) * tile)[owner_N] + positions(candidates_U, owner_N)
    described = torch.stack([tiles_U, starts(lengths_S)[reads.history], lengths_S[reads.history]], dim=1)
    requests: list[list[int]] = described[tiles_U > 0].tolist()
    return Tiles(slots_N, tile, int(tiles_U.sum()) * tile, requests)


def attend_in_tiles(
    query_PHd: Tensor, key_PHd: Tensor, value_PHd: Tensor, keys_THd: Tensor, values_THd: Tensor, tiles: Tiles
) -> Tensor:
    """Softmax attention of every candidate over [its history, itself]; see `model.attention.merged`.

    Args:
        query_PHd: the candidates' queries, in tiles.
        key_PHd: their own keys.
        value_PHd: their own values.
        keys_THd: the events' keys.
        values_THd: the events' values.
        tiles: who reads what.

    Returns:
        (P, H, d).
    """
    attended: list[Tensor] = [query_PHd[:0]]
    lses: list[Tensor] = [query_PHd[:0, :, :1].float()]
    first = 0
    for request in tiles.requests:
        count, first_event, events = request[0], request[1], request[2]
        if events == 0:
            rows = query_PHd[first : first + count * tiles.tile]
            attended.append(torch.zeros_like(rows))
            lses.append(torch.full_like(rows[:, :, :1], -math.inf, dtype=torch.float32))
        else:
            history, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                rows_of(query_PHd, first, count, tiles.tile),
                # One history for all tiles, without a copy.
                rows_of(keys_THd, first_event, 1, events).expand(count, -1, -1, -1),
                rows_of(values_THd, first_event, 1, events).expand(count, -1, -1, -1),
            )
            attended.append(to_rows(history))
            lses.append(to_rows(lse[..., None]))
        first += count * tiles.tile
    own_PH1 = (query_PHd.float() * key_PHd.float()).sum(-1, keepdim=True) * query_PHd.size(2) ** -0.5
    # Its share of the softmax as a logistic function: of torch's, exp alone rounds alike in and behind its vectors.
    share_PH1 = 1.0 / (1.0 + torch.exp(torch.cat(lses) - own_PH1))
    return torch.lerp(torch.cat(attended), value_PHd, share_PH1.to(value_PHd.dtype))
