"""Small catalogues to search, and the search that is plainly right."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pinfm.inference.index.build import int8_rows
from pinfm.inference.index.search import ExactIndex, two_rows


def index_of(vectors_VO: Tensor, ids: Sequence[int], categories: Sequence[int], mean_O: Tensor | None = None):
    """An index of vectors as they are given, whose items have a category."""
    mean_O = torch.ones(vectors_VO.size(1)) if mean_O is None else mean_O
    index = ExactIndex(["category"], mean_O, 0)
    rows_VO, scales_V = int8_rows(vectors_VO)
    values, codes = torch.unique(torch.tensor(categories, dtype=torch.int64), return_inverse=True)
    for name, rows in (
        ("rows", rows_VO),
        ("scales", scales_V[:, None]),
        ("ids", torch.tensor(ids, dtype=torch.int64)[:, None]),
        ("values.category", values[:, None]),
        ("codes.category", codes.int()[:, None]),
    ):
        index.place(name, rows)
    return index


def one_by_one(
    index: ExactIndex, user_O: Tensor, hidden: set[int], categories: Sequence[int], wanted: set[int], k: int
) -> list[int]:
    """Ids in order of their products with the user's two rows, in whole numbers; equal ones by their id."""
    coarse, fine = two_rows(user_O[None])[0].long()
    products = ((index.rows_VO.long() @ (254 * coarse + fine)).float() * index.scales_V).tolist()
    items = [
        (-product, item)
        for product, item, category in zip(products, index.ids_V.tolist(), categories, strict=True)
        if item not in hidden and (not wanted or category in wanted)
    ]
    return [item for _, item in sorted(items)][:k]
