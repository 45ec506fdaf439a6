"""New rows: the same values however a table is cut."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.embeddings.sharded import init
from pinfm.embeddings.sharded.init import fill_uniform, uniform_rows

BOUNDS = (-0.25, 0.5)


def cuts(size):
    return st.lists(st.integers(0, size), max_size=4).map(lambda inner: sorted({0, size, *inner}))


@given(st.data(), st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
@settings(max_examples=60)
def test_blocks_of_a_table_equal_the_whole_table(data, num_rows, num_columns, seed):
    whole = uniform_rows("item_0", seed, torch.arange(num_rows), (0, num_columns), BOUNDS)
    row_cuts, column_cuts = data.draw(cuts(num_rows)), data.draw(cuts(num_columns))
    put_together = torch.full((num_rows, num_columns), float("nan"))
    for top, bottom in pairwise(row_cuts):
        for left, right in pairwise(column_cuts):
            fill_uniform(put_together[top:bottom, left:right], "item_0", seed, (top, left), BOUNDS)
    assert torch.equal(put_together, whole)


@pytest.mark.parametrize("chunk_values", [1, 9, 28, 1000])
def test_values_do_not_depend_on_the_chunk(monkeypatch, chunk_values):
    monkeypatch.setattr(init, "CHUNK_VALUES", chunk_values)
    block = torch.empty(20, 4)
    fill_uniform(block, "item_3", 5, (100, 8), BOUNDS)
    assert torch.equal(block, uniform_rows("item_3", 5, torch.arange(100, 100 + 20), (8, 4), BOUNDS))


def test_values_are_uniform_within_the_bounds():
    values = uniform_rows("item_0", 0, torch.arange(20_000), (0, 10), BOUNDS).flatten()
    assert values.dtype == torch.float32
    assert values.min() >= BOUNDS[0]
    assert values.max() <= BOUNDS[1]
    shares = torch.histc(values, bins=20, min=BOUNDS[0], max=BOUNDS[1]) / values.numel()
    assert (shares - 0.05).abs().max() < 0.003


def test_rows_columns_tables_and_seeds_are_independent():
    base = uniform_rows("item_0", 0, torch.arange(2000), (0, 8), BOUNDS)
    others = {
        "other table": uniform_rows("item_1", 0, torch.arange(2000), (0, 8), BOUNDS),
        "other seed": uniform_rows("item_0", 1, torch.arange(2000), (0, 8), BOUNDS),
        "next row": uniform_rows("item_0", 0, torch.arange(1, 1 + 2000), (0, 8), BOUNDS),
        "next column": uniform_rows("item_0", 0, torch.arange(2000), (1, 8), BOUNDS),
    }
    for name, other in others.items():
        correlation = torch.corrcoef(torch.stack([base.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 0.04, name


def test_half_precision_tables_get_the_rounded_values():
    block = torch.empty(5, 4, dtype=torch.float16)
    fill_uniform(block, "item_0", 0, (0, 0), BOUNDS)
    assert torch.equal(block, uniform_rows("item_0", 0, torch.arange(5), (0, 4), BOUNDS).half())
