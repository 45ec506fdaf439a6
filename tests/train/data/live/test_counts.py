"""Counts of marks before a moment, against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfm.model.live_counts import ALL, first_second
from pinfm.train.data.live.counts import Marks

WINDOWS = ("1min", "3min", "1h", ALL)
KEY = st.sampled_from([-(2**63), -1, 0, 5, 2**63 - 1])
TIME = st.integers(0, 400) | st.integers(3_000, 4_500)


def plain(marks, query, windows, num_kinds):
    *key, time = query
    counts = []
    for window in windows:
        begin = -1 if window == ALL else first_second(time, window)
        seen = [kind for *of, second, kind in marks if of == key and begin <= second < time]
        counts += [seen.count(kind) for kind in range(num_kinds)]
    return counts


@pytest.mark.parametrize("width", [1, 2])
@given(data=st.data())
def test_every_window_holds_what_a_plain_loop_counts(width, data):
    keys = [KEY] * width
    marks = sorted(data.draw(st.lists(st.tuples(*keys, TIME, st.integers(0, 2)), max_size=30)))
    queries = data.draw(st.lists(st.tuples(*keys, TIME), max_size=20))
    columns = np.array(marks, dtype=np.int64).reshape(-1, width + 2).T
    asked = np.array(queries, dtype=np.int64).reshape(-1, width + 1).T
    before = Marks(list(columns[:width]), columns[-2], columns[-1], 3).before(list(asked[:-1]), asked[-1])
    counted = [before.within(window) for window in WINDOWS]
    assert np.concatenate(counted, axis=1).tolist() == [
        plain([list(m) for m in marks], list(q), WINDOWS, 3) for q in queries
    ]
