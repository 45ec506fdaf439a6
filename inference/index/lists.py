"""Catalogues too large to look at whole: FAISS's inverted lists (the extra `faiss`), from some two million items on.

A user looks into the lists whose centres are nearest, as many as found 99 % of the exact top 100 as the index was made.
Seen items and filters are FAISS's selectors, which act before the top k; where they leave so little that the nearest
lists have fewer than k of it, more lists are looked into, in the end all.

Never in one process with usearch: the two crashed each other.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pinfm.embeddings.errors import UserError
from pinfm.inference.index.asked import problem_of
from pinfm.inference.index.search import ExactIndex

# Wanted of the exact top 100, of queries like those that `sample_queries` draws.
RECALL, TOP = 0.99, 100
QUERIES, SEED = 200, 0
# Items that a centre is learnt from.
PER_LIST = 40

Floats = npt.NDArray[np.float32]


class ListIndex:
    """The catalogue in inverted lists; called as an `ExactIndex` is.

    Args:
        catalogue: with ids and attributes placed; its rows are not read.
        lists: FAISS's index, whose ids are rows of the catalogue.
        probes: lists that a search looks into.
    """

    def __init__(self, catalogue: ExactIndex, lists: Any, probes: int) -> None:
        self._catalogue, self._lists, self._probes = catalogue, lists, probes
        self.ids_V, self.attributes = catalogue.ids_V, catalogue.attributes

    def __call__(
        self, vectors_UO: Tensor, seen_U: Tensor, seen_T: Tensor, asked: dict[str, Tensor], k: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `ExactIndex.forward`, but that an item may be missed; products are of float16 rows."""
        problem = problem_of(asked, self.attributes, vectors_UO.size(0), k)
        if problem != "":
            raise UserError(problem)
        owner_H, row_H = self._catalogue.hidden(seen_U, seen_T, asked)
        vectors_UO = self._catalogue.known_users(vectors_UO)
        lengths, rows, products = [], [seen_T[:0]], [torch.zeros(0)]
        for user in range(vectors_UO.size(0)):
            found, best = self._search(vectors_UO[user : user + 1], row_H[owner_H == user], user, asked, k)
            lengths.append(len(found))
            rows.append(found)
            products.append(best)
        return torch.tensor(lengths, dtype=torch.int64), self.ids_V[torch.cat(rows)], torch.cat(products)

    def _search(
        self, vector_1O: Tensor, hidden_H: Tensor, user: int, asked: dict[str, Tensor], k: int
    ) -> tuple[Tensor, Tensor]:
        faiss, count = require_faiss(), len(self.ids_V)
        hidden_H = torch.unique(hidden_H)
        left, selector = count - len(hidden_H), faiss.IDSelectorNot(faiss.IDSelectorBatch(hidden_H.numpy()))
        if any(name.startswith("filter_") for name in asked):
            scores_1V = torch.zeros(1, count)
            self._catalogue.filter(scores_1V, user, asked)
            allowed = scores_1V[0] == 0
            allowed[hidden_H] = False
            left, bits = int(allowed.sum()), np.packbits(allowed.numpy(), bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        wanted, probes = min(k, left), self._probes
        while True:
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=probes)
            products, rows = self._lists.search(vector_1O.numpy(), max(wanted, 1), params=parameters)
            there = rows[0] >= 0
            if there.sum() >= wanted or probes >= self._lists.nlist:
                break
            probes = min(4 * probes, self._lists.nlist)
        # Equal products in the order of the ids, which is that of the rows.
        order = np.lexsort((rows[0][there], -products[0][there]))[:wanted]
        return torch.from_numpy(rows[0][there][order]), torch.from_numpy(products[0][there][order])


def require_faiss() -> ModuleType:
    """The module.

    Raises:
        UserError: it is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise UserError(
            "FAISS is not installed; install pinfm[faiss], or make the index with --index-kind exact."
        ) from error
    module: ModuleType = faiss
    return module


def build_lists(vectors_VO: Floats) -> tuple[Any, int, float]:
    """Inverted lists of a catalogue.

    Args:
        vectors_VO: in order of their rows.

    Returns:
        FAISS's index in float16, how many lists to look into, and the share of the exact top 100 that it then finds.
    """
    faiss, (count, width) = require_faiss(), vectors_VO.shape
    num_lists = max(1, min(int(2 * count**0.5), count // PER_LIST))
    random = np.random.default_rng(SEED)
    sample = np.sort(random.choice(count, min(count, PER_LIST * num_lists), replace=False))
    centres = faiss.IndexFlatIP(width)
    metric, half = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_fp16
    lists = faiss.IndexIVFScalarQuantizer(centres, width, num_lists, half, metric, False)
    lists.cp.seed = SEED
    lists.train(vectors_VO[sample])
    lists.add(vectors_VO)
    queries = sample_queries(vectors_VO, random)
    exact = exact_rows(vectors_VO, queries, min(TOP, count))
    probes = 1
    while (found := recall(lists, queries, exact, probes)) < RECALL and probes < num_lists:
        probes = min(2 * probes, num_lists)
    return lists, probes, found


def sample_queries(vectors_VO: Floats, random: np.random.Generator) -> Floats:
    """Users as they might be: somewhere about an item, at an angle whose cosine is 0.7."""
    items = vectors_VO[random.choice(len(vectors_VO), QUERIES)]
    away = random.standard_normal(items.shape, dtype=np.float32)
    lengths = np.linalg.norm(items, axis=1, keepdims=True) / np.linalg.norm(away, axis=1, keepdims=True)
    return np.ascontiguousarray(items + lengths * away, dtype=np.float32)


def exact_rows(vectors_VO: Floats, queries_BO: Floats, k: int, block: int = 1 << 18) -> npt.NDArray[np.int64]:
    """(B, k) rows with the largest inner products, in float32, a block of the catalogue at a time."""
    best, rows = torch.full((len(queries_BO), 0), 0.0), torch.zeros(len(queries_BO), 0, dtype=torch.int64)
    for start in range(0, len(vectors_VO), block):
        scores = torch.from_numpy(queries_BO) @ torch.from_numpy(vectors_VO[start : start + block]).T
        top = torch.topk(scores, min(k, scores.size(1)))
        best, rows = torch.cat([best, top.values], 1), torch.cat([rows, top.indices + start], 1)
        kept = torch.topk(best, min(k, best.size(1)))
        best, rows = kept.values, rows.gather(1, kept.indices)
    return rows.numpy()


def recall(lists: Any, queries_BO: Floats, exact_BK: npt.NDArray[np.int64], probes: int) -> float:
    """The share of exact rows that a search finds."""
    parameters = require_faiss().SearchParametersIVF(nprobe=probes)
    found = lists.search(queries_BO, exact_BK.shape[1], params=parameters)[1]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(exact_BK, found, strict=True)]))


def save_lists(lists: Any, path: Path) -> None:
    """Writes FAISS's file."""
    require_faiss().write_index(lists, str(path))


def load_lists(path: Path) -> Any:
    """Reads FAISS's file."""
    return require_faiss().read_index(str(path))
