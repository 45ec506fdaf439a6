"""Keys -> rows, as a dictionary has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfm.inference.live_counts.keys import LEAST_BUCKETS, SLOTS, KeyTable

# Few values, so that keys come again; the ends of int64, and numbers that a product alone would spread badly.
NUMBERS = st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), *(number << 40 for number in range(1, 40))])


def find(table, keys):
    return table.find(np.array(keys, dtype=np.int64).reshape(-1, table.width)).tolist()


def insert(table, rows):
    keys = np.array(list(rows), dtype=np.int64).reshape(-1, table.width)
    table.insert(keys, np.array(list(rows.values()), dtype=np.intp))


@pytest.mark.parametrize("width", [1, 2])
@given(data=st.data())
def test_it_finds_what_a_dictionary_finds(width, data):
    table, rows, next_row = KeyTable(width), {}, 1
    keys = st.tuples(*[NUMBERS] * width)
    for _ in range(data.draw(st.integers(1, 5))):
        new = data.draw(st.sets(keys, max_size=30)) - set(rows)
        fresh = {key: next_row + place for place, key in enumerate(sorted(new))}
        next_row += len(fresh)
        insert(table, fresh)
        rows |= fresh
        gone = [key for key in rows if data.draw(st.booleans())]
        table.remove(np.array([rows.pop(key) for key in gone], dtype=np.intp), next_row)
        asked = [*rows, *gone, *data.draw(st.lists(keys, max_size=5))]
        assert find(table, asked) == [rows.get(key, 0) for key in asked]
        assert len(table) == len(rows)
    left, places = table.entries()
    assert dict(zip(map(tuple, left.tolist()), places.tolist(), strict=True)) == rows


def test_a_bucket_that_overflows_goes_on_in_the_next_ones():
    table = KeyTable(1)
    numbers = np.arange(20_000)[:, None]
    home = table._home(numbers)
    # The last bucket's next is the first.
    crowd = numbers[home == LEAST_BUCKETS - 1][: 3 * SLOTS + 1, 0].tolist()
    insert(table, {number: row for row, number in enumerate(crowd, start=1)})
    assert find(table, crowd) == list(range(1, 3 * SLOTS + 2))
    assert find(table, numbers[home == 1][:5]) == [0] * 5
    table.remove(np.arange(1, 10), 3 * SLOTS + 2)
    assert find(table, crowd) == [0] * 9 + list(range(10, 3 * SLOTS + 2))


def test_removed_keys_make_it_no_larger():
    table = KeyTable(1)
    for start in range(0, 20_000, 100):
        insert(table, {start + place: 1 + place for place in range(100)})
        table.remove(np.arange(1, 101), 101)
    assert len(table) == 0
    assert table.nbytes < 20_000
