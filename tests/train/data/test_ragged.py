"""Ragged gathers and list columns against loops."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pinfm.train.data.ragged import list_column, ragged_index, scalar_column

rows = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=20)
cells = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), max_size=20)


@given(rows)
def test_ragged_index_is_every_row_after_the_other(pairs):
    starts, lengths = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    index = ragged_index(starts, lengths)
    assert index.tolist() == [start + k for start, length in pairs for k in range(length)]
    assert index.dtype == np.int64


@given(cells, st.integers(1, 4))
def test_a_list_column_is_its_values_and_lengths(lists, num_chunks):
    """Also where the column comes in several chunks, or is a slice of a longer one."""
    chunks = [pa.array(part, type=pa.list_(pa.int64())) for part in parts_of(lists, num_chunks)]
    table = pa.table({"x": pa.chunked_array(chunks, type=pa.list_(pa.int64()))})
    for part, expected in ((table, lists), (table.slice(1, 3), lists[1:4]), (table.slice(len(lists)), [])):
        values, lengths = list_column(part, "x")
        assert lengths.tolist() == [len(cell) for cell in expected]
        assert values.tolist() == [value for cell in expected for value in cell]
        assert lengths.dtype == np.int64


def parts_of(lists, count):
    bounds = [len(lists) * k // count for k in range(count + 1)]
    return [lists[a:b] for a, b in pairwise(bounds)]


def test_a_scalar_column_is_one_array():
    table = pa.table({"x": pa.chunked_array([[1, 2], [3]])})
    assert scalar_column(table, "x").tolist() == [1, 2, 3]
