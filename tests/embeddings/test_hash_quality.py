"""The hash on ten million ids of each kind: uniform, independent between sub-tables, as many collisions as theory says.

N  ids     K  sub-tables     R  rows of each
"""

import math

import pytest
import torch

from pinfm.embeddings.hashing import hash_rows, hash_seeds

N, K, R = 10_000_000, 8, 100_003
# Ids hashed at a time: few enough that what is in between stays in the cache.
PART = 16_384
IDS = {
    "sequential": lambda: torch.arange(N),
    "strided": lambda: torch.arange(N) * 4096 + 17,
    "random": lambda: torch.empty(N, dtype=torch.int64).random_(-(2**63), None),
}


@pytest.fixture(scope="module", params=IDS)
def ids(request):
    torch.manual_seed(0)
    return IDS[request.param]()


@pytest.fixture(scope="module")
def rows_KN(ids):
    seeds = hash_seeds(K, seed=0)
    return torch.cat([hash_rows(part, seeds, R).int() for part in ids.split(PART)], dim=1)


def assert_uniform(cells, num_cells):
    """Chi-square within five standard deviations of its mean: that of a uniform draw is beyond once in two million."""
    expected = len(cells) / num_cells
    chi_square = float((torch.bincount(cells, minlength=num_cells) - expected).double().square().sum() / expected)
    freedom = num_cells - 1
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


def test_the_load_of_every_sub_table_is_uniform(rows_KN):
    for rows_N in rows_KN:
        assert_uniform(rows_N, R)


def test_sub_tables_are_independent_in_pairs(rows_KN):
    grid = 256
    for k in range(K):
        for other in range(k):
            cells_N = (rows_KN[k] % grid).long() * grid + rows_KN[other] % grid
            # R is no multiple of the grid, so that its cells are not quite equal; next to the spread, that is nothing.
            assert_uniform(cells_N, grid * grid)


@pytest.mark.parametrize(("k", "rows"), [(2, 31_607), (4, 100), (8, 10)])
def test_as_many_pairs_share_all_rows_as_chance_gives(ids, k, rows):
    # Few rows, so that there are pairs to count: N (N - 1) / 2 of them, each alike with probability 1 / (rows ** k).
    weights_K1 = rows ** torch.arange(k)[:, None]
    keys = [(hash_rows(part, hash_seeds(k, seed=0), rows) * weights_K1).sum(0) for part in ids.split(PART)]
    _, sizes = torch.cat(keys).unique(return_counts=True)
    pairs = int((sizes * (sizes - 1) // 2).sum())
    expected = N * (N - 1) / 2 / rows**k
    assert abs(pairs - expected) < 5 * math.sqrt(expected)
