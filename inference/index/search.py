"""Exact search over a catalogue in int8. Written for TorchScript, so that C++ hosts search as Python does.

An item's vector is a row of whole numbers from -127 to 127 with one scale; a user's vector is two such rows, the second
for what the first rounds away (1.5e-5 of its largest component are left). Products of whole numbers are exact, in any
order: what a user is given depends neither on the batch, nor on threads, nor on the processor.

U  users     V  items     O  width of a vector     T  items that users have seen
"""

import math

import torch
from torch import Tensor, nn

from pinfm.inference.index.asked import problem_of
from pinfm.inference.index.top_k import CHUNK, top_k
from pinfm.model.layers.jagged import starts

# Of vectors: sums of so many products of int8 stay below 2**24.
MOST_WIDTH = 1040
# Of items, whose places `order_keys` takes.
MOST_ITEMS = 1 << 30
# Searched at once: their scores of 1M items take 32 MB.
USERS = 8
# Multiplied at once: the products stay in the processor's cache.
ITEMS = 1 << 16


class ExactIndex(nn.Module):
    """The catalogue, in order of its ids, and the search in it.

    Args:
        attributes: names of the attributes that searches may filter by.
        mean_user_O: (O,) float32 vector for users without a history.
        model_crc32: of the scoring.pt that the vectors are of: for hosts that read no JSON.
    """

    # TorchScript reads the types of empty lists here, and only here.
    attributes: list[str]
    attribute_values: list[Tensor]
    attribute_codes: list[Tensor]
    # What `place` is to be given, field by field as `TableFile` has it.
    table_files: list[tuple[str, str, int, int, str, int]]
    rows_VO: Tensor
    scales_V: Tensor
    ids_V: Tensor
    mean_user_O: Tensor

    def __init__(self, attributes: list[str], mean_user_O: Tensor, model_crc32: int) -> None:
        super().__init__()
        self.attributes, self.table_files, self.model_crc32 = attributes, [], model_crc32
        self.attribute_values = [torch.empty(0, dtype=torch.int64) for _ in attributes]
        self.attribute_codes = [torch.empty(0, dtype=torch.int32) for _ in attributes]
        self.register_buffer("rows_VO", torch.empty(0, mean_user_O.size(0), dtype=torch.int8))
        self.register_buffer("scales_V", torch.empty(0))
        self.register_buffer("ids_V", torch.empty(0, dtype=torch.int64))
        self.register_buffer("mean_user_O", mean_user_O)
        self.int_products = False
        # TorchScript sees no constants of a module.
        self.users, self.items, self.chunk = USERS, ITEMS, CHUNK

    @torch.jit.export
    def place(self, name: str, rows: Tensor) -> None:
        """Takes a part of the catalogue.

        Args:
            name: `rows`, `scales`, `ids`, or `values.` or `codes.` and the name of an attribute.
            rows: (V, O) int8, (V, 1) float32, (V, 1) int64 ascending, the attribute's values, (n, 1) int64 ascending,
                or (V, 1) int32, which of them each item has.
        """
        if name == "rows":
            self.rows_VO = rows
            self.int_products = has_int_products(self.mean_user_O.size(0))
        elif name == "scales":
            self.scales_V = rows[:, 0]
        elif name == "ids":
            self.ids_V = rows[:, 0]
        for i, attribute in enumerate(self.attributes):
            if name == "values." + attribute:
                self.attribute_values[i] = rows[:, 0]
            elif name == "codes." + attribute:
                self.attribute_codes[i] = rows[:, 0]

    def forward(
        self, vectors_UO: Tensor, seen_U: Tensor, seen_T: Tensor, asked: dict[str, Tensor], k: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The items with the largest inner products.

        Args:
            vectors_UO: float32, from `ScoringModule.user_vectors`; a row of zeros stands for no history.
            seen_U: int64, items that each user has seen.
            seen_T: their ids; they are never found.
            asked: `exclude_lengths` (U,) and `exclude_item_id`, int64: more that is not to be found; for an attribute
                `a`, `filter_a_lengths` (U,) and `filter_a`, int64: only items with one of these values are to be
                found, and any item by a user who has none of them.
            k: items wanted for each user, at least 1.

        Returns:
            Items found for each user, (U,) int64, fewer than k where no more are left; their ids, best first, of equal
            ones the smaller; and their inner products, float32.

        Raises:
            ValueError: a value that can't be.
        """
        problem = problem_of(asked, self.attributes, vectors_UO.size(0), k)
        if problem != "":
            raise ValueError(problem)
        owner_H, row_H = self.hidden(seen_U, seen_T, asked)
        vectors_UO = self.known_users(vectors_UO)
        lengths: list[Tensor] = []
        ids: list[Tensor] = []
        products: list[Tensor] = []
        for first in range(0, vectors_UO.size(0), self.users):
            block_UO = vectors_UO[first : first + self.users]
            scores_UV, units_U = self._scores(block_UO)
            mine_H = (owner_H >= first) & (owner_H < first + block_UO.size(0))
            scores_UV[owner_H[mine_H] - first, row_H[mine_H]] = -math.inf
            self.filter(scores_UV, first, asked)
            best_UK, rows_UK = top_k(scores_UV, k, self.chunk)
            found_UK = best_UK > -math.inf
            lengths.append(found_UK.sum(1))
            ids.append(self.ids_V[rows_UK[found_UK]])
            products.append((best_UK * units_U[:, None])[found_UK])
        if len(ids) == 0:
            return seen_U[:0], seen_T[:0], self.scales_V[:0]
        return torch.cat(lengths), torch.cat(ids), torch.cat(products)

    def _scores(self, vectors_UO: Tensor) -> tuple[Tensor, Tensor]:
        """(U, V or more) with -inf behind the last item, in units of (U,)."""
        num_users, num_items = vectors_UO.size(0), self.ids_V.size(0)
        queries, units_U = two_rows(vectors_UO)
        width = max((num_items + self.chunk - 1) // self.chunk, 1) * self.chunk
        scores_UV = torch.empty([num_users, width])
        scores_UV[:, num_items:] = -math.inf
        for first in range(0, num_items, self.items):
            rows_BO, scales_B = self.rows_VO[first : first + self.items], self.scales_V[first : first + self.items]
            if self.int_products:
                products = torch._int_mm(queries, rows_BO.t())
            else:
                # Sums of whole numbers below 2**24: exact in float32.
                products = (queries.float() @ rows_BO.float().t()).to(torch.int32)
            whole_UB = torch.add(products[num_users:], products[:num_users], alpha=254)
            torch.mul(whole_UB, scales_B, out=scores_UV[:, first : first + rows_BO.size(0)])
        return scores_UV, units_U

    def known_users(self, vectors_UO: Tensor) -> Tensor:
        """The vectors, the mean user's in the place of zeros."""
        nobody_U1 = (vectors_UO == 0).all(1, keepdim=True)
        return torch.where(nobody_U1, self.mean_user_O, vectors_UO)

    def hidden(self, seen_U: Tensor, seen_T: Tensor, asked: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Which user each item is hidden from, and its row; what is not in the catalogue has none."""
        owner_H, id_H = torch.repeat_interleave(seen_U), seen_T
        if "exclude_lengths" in asked:
            owner_H = torch.cat([owner_H, torch.repeat_interleave(asked["exclude_lengths"])])
            id_H = torch.cat([id_H, asked["exclude_item_id"]])
        if self.ids_V.size(0) == 0:
            return owner_H[:0], id_H[:0]
        row_H = torch.searchsorted(self.ids_V, id_H).clamp(max=self.ids_V.size(0) - 1)
        there_H = self.ids_V[row_H] == id_H
        return owner_H[there_H], row_H[there_H]

    def filter(self, scores_UV: Tensor, first: int, asked: dict[str, Tensor]) -> None:
        """Makes -inf of the scores that the filters of users from `first` on don't let through."""
        for i, attribute in enumerate(self.attributes):
            if "filter_" + attribute in asked:
                lengths, wanted = asked["filter_" + attribute + "_lengths"], asked["filter_" + attribute]
                begins, values = starts(lengths), self.attribute_values[i]
                for user in range(scores_UV.size(0)):
                    count, begin = int(lengths[first + user]), int(begins[first + user])
                    if count > 0:
                        passes = torch.isin(values, wanted[begin : begin + count])
                        hidden_V = ~passes[self.attribute_codes[i].long()]
                        scores_UV[user, : hidden_V.size(0)].masked_fill_(hidden_V, -math.inf)


def two_rows(vectors_UO: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors as (2U, O) int8, all first rows before all second: vector = unit * (254 * first + second).

    Returns:
        The rows, and the units (U,) float32, above 0.
    """
    steps_U1 = (vectors_UO.abs().amax(1, keepdim=True) / 127).clamp(min=1e-30)
    coarse_UO = (vectors_UO / steps_U1).round().clamp(-127, 127)
    fine_UO = ((vectors_UO - coarse_UO * steps_U1) * (254 / steps_U1)).round().clamp(-127, 127)
    return torch.cat([coarse_UO, fine_UO]).to(torch.int8), steps_U1[:, 0] / 254


def has_int_products(width: int) -> bool:
    """Whether this processor multiplies int8 without cutting sums to 16 bits, as those without VNNI may."""
    largest = torch.full([2, width], 127, dtype=torch.int8)
    # As many as make the library take the way that it takes for a catalogue.
    rows = torch.cat([largest, -largest]).repeat(1024, 1).t()
    return bool((torch._int_mm(largest, rows).abs() == width * 127 * 127).all())
