"""Ragged requests as pieces of bounded blocks, which is what compiled functions take. Written for TorchScript.

    history_lengths  [5, 0, 4, 2000]     one piece: requests 0 and 2, padded to 5 events and 7 candidates
    candidate_lengths[7, 0, 6, 3]        one piece: request 3; request 1 asks for nothing and is in none

A compiled function takes a block beyond its bounds without a word and may read what is not there, so nothing but these
pieces goes in. Requests that are alike go together: a block is never half padding in either direction.

U  requests     T  events of all histories     N  candidates of all requests
P  requests of a piece     L, C  slots of its histories, of its candidates     M  its candidates
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.layers.jagged import starts


class Bounds(NamedTuple):
    """What a block holds at most.

    Args:
        requests: P.
        events: L.
        candidates: C.
        slots: P C, which bounds the memory of a call.
    """

    requests: int
    events: int
    candidates: int
    slots: int


class Pieces(nn.Module):
    """Cuts what was looked up into pieces.

    Args:
        bounds: of every piece.
        has_tower: histories are encoded.
    """

    def __init__(self, bounds: Bounds, *, has_tower: bool) -> None:
        super().__init__()
        self.requests, self.candidates, self.slots = bounds.requests, bounds.candidates, bounds.slots
        self.has_tower = has_tower

    def forward(self, looked_up: dict[str, Tensor]) -> list[dict[str, list[Tensor]]]:
        """Pieces that hold every candidate once.

        Args:
            looked_up: from `ScoringModule.looked_up`.

        Returns:
            Of each piece:

            `encode`: what `Encode` takes; not there where the piece before it has encoded the same requests.
            `cross`: what `Cross` takes after what `Encode` gave; empty without a tower.
            `rank`: what `Rank` takes after the tower's features (M, O).
            `places`: (M,) where each candidate stands in the P C slots of `Cross`, and (M,) among all N.
        """
        lengths_U, candidates_U = looked_up["history_lengths"], looked_up["candidate_lengths"]
        pieces: list[dict[str, list[Tensor]]] = []
        for asking_P in self._alike(lengths_U, candidates_U):
            longest = int(candidates_U[asking_P].max())
            for begin in range(0, longest, self.candidates):
                width = min(self.candidates, longest - begin)
                piece = self._asked(looked_up, asking_P, begin, width)
                if begin == 0:
                    piece["encode"] = self._read(looked_up, asking_P)
                pieces.append(piece)
        return pieces

    def _alike(self, lengths_U: Tensor, candidates_U: Tensor) -> list[Tensor]:
        """Requests that ask for something, by how much they hold: counts of one group have the same highest bit."""
        asking = torch.nonzero(candidates_U > 0)[:, 0]
        key = 64 * torch.frexp(candidates_U[asking].double())[1]
        if self.has_tower:
            key = key + torch.frexp(lengths_U[asking].double())[1]
        order = torch.argsort(key, stable=True)
        counts: list[int] = torch.unique_consecutive(key[order], return_counts=True)[1].tolist()
        groups: list[Tensor] = []
        for group in torch.split(asking[order], counts):
            if group.size(0) > 0:
                width = min(int(candidates_U[group].max()), self.candidates)
                groups.extend(torch.split(group, max(1, min(self.requests, self.slots // width))))
        return groups

    def _read(self, looked_up: dict[str, Tensor], asking_P: Tensor) -> list[Tensor]:
        """Padded histories, for `Encode`; none without a tower."""
        if not self.has_tower:
            none: list[Tensor] = []
            return none
        lengths_U = looked_up["history_lengths"]
        lengths_P = lengths_U[asking_P]
        length = max(2, int(lengths_P.max()))  # of one slot, compilers would take it for no dimension
        columns = torch.arange(length, device=lengths_P.device)
        rows_PL = starts(lengths_U)[asking_P][:, None] + torch.minimum(columns, (lengths_P[:, None] - 1).clamp(min=0))
        blocks: list[Tensor] = []
        for name in ("event_item", "event_action", "event_surface", "event_gap"):
            blocks.append(_block(looked_up[name], rows_PL))
        blocks.append(lengths_P)
        return blocks

    def _asked(self, looked_up: dict[str, Tensor], asking_P: Tensor, begin: int, width: int) -> dict[str, list[Tensor]]:
        """Candidates `begin` to `begin + width` of each request, padded for `Cross` and as they are for `Rank`."""
        candidates_U, item_NE = looked_up["candidate_lengths"], looked_up["item"]
        columns = begin + torch.arange(width, device=asking_P.device)
        counts_P1 = candidates_U[asking_P][:, None]
        rows_PC = starts(candidates_U)[asking_P][:, None] + torch.minimum(columns, counts_P1 - 1)
        slots_M = torch.nonzero((columns < counts_P1).flatten())[:, 0]
        rows_M = rows_PC.flatten()[slots_M]
        piece = {
            "rank": [
                item_NE[rows_M],
                looked_up["content"][rows_M],
                slots_M // width,
                looked_up["request_vectors"][asking_P],
                looked_up["candidate_vectors"][rows_M],
                looked_up["request_dense"][asking_P],
                looked_up["candidate_dense"][rows_M],
            ],
            "places": [slots_M, rows_M],
        }
        crossed: list[Tensor] = []
        if self.has_tower:
            crossed = [
                looked_up["history_lengths"][asking_P],
                _block(item_NE, rows_PC),
                _block(looked_up["content"], rows_PC),
                looked_up["request_gap"][asking_P],
                looked_up["request_surface"][asking_P],
            ]
        piece["cross"] = crossed
        return piece


def _block(x_N: Tensor, rows_PL: Tensor) -> Tensor:
    """The rows in their slots; zeros where there is no row at all."""
    if x_N.size(0) == 0:
        return x_N.new_zeros(list(rows_PL.size()) + list(x_N.size())[1:])
    return x_N[rows_PL.clamp(max=x_N.size(0) - 1)]
