"""A request sees its user's newest events, strictly before its timestamp: in the search and through all of prepare."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.train.data.dataset import PreparedDataset, history_ranges
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.events import Events

moments = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 12)), max_size=40)


def table(pairs: list[tuple[int, int]]) -> pyarrow.Table:
    users, times = zip(*pairs, strict=True) if pairs else ((), ())
    return pyarrow.table({"user_id": np.array(users, dtype=np.int64), "timestamp": np.array(times, dtype=np.int64)})


@given(moments, moments, st.integers(1, 6))
def test_ranges_equal_an_obvious_loop(events, requests, max_history):
    events = sorted(events)
    starts, ends = history_ranges(table(events), table(requests), max_history)
    for (user, time), start, end in zip(requests, starts, ends, strict=True):
        rows = [row for row, (other, moment) in enumerate(events) if other == user and moment < time][-max_history:]
        assert list(range(start, end)) == rows


def test_ids_and_times_of_any_size_fit():
    far = 2**62
    events = table([(-far, 1), (-far, far), (far, 1), (far, far)])
    starts, ends = history_ranges(events, table([(far, far), (-far, far), (0, 5)]), 8)
    assert (ends - starts).tolist() == [1, 1, 0]


times = st.integers(1_000, 1_030)
logs = st.lists(st.tuples(st.integers(1, 4), times, st.integers(1, 5)), min_size=1, max_size=30)


@settings(max_examples=15)
@given(logs, logs, st.integers(1, 5))
def test_prepared_histories_end_before_the_request(events, requests, max_history):
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepared(Path(folder), events, requests, max_history)
        seen = 0
        for bucket in range(dataset.info.num_buckets):
            rows = dataset.events(bucket)
            users, moments = rows["user_id"].to_numpy(), rows["timestamp"].to_numpy()
            for split in dataset.info.splits:
                asked = dataset.requests(split, bucket)
                starts, ends = history_ranges(rows, asked, dataset.info.max_history)
                for request, start, end in zip(asked.to_pylist(), starts, ends, strict=True):
                    assert (moments[start:end] < request["timestamp"]).all()
                    assert (users[start:end] == request["user_id"]).all()
                    earlier = [e for e in events if e[0] == request["user_id"] and e[1] < request["timestamp"]]
                    assert end - start == min(len(earlier), max_history)
                    seen += 1
        assert seen == len(requests)


def prepared(folder: Path, events, requests, max_history: int) -> PreparedDataset:
    columns = ["user_id", "timestamp", "item_id"]
    pd.DataFrame(events, columns=columns).assign(action="click", surface="home").to_parquet(folder / "events.parquet")
    asked = pd.DataFrame(requests, columns=columns)
    asked.assign(request_id=range(len(asked)), surface="home", click=True).to_parquet(folder / "impressions.parquet")
    source = Events(
        path=folder / "events.parquet",
        actions=["click"],
        impressions=folder / "impressions.parquet",
        tasks=["click"],
    )
    prepare(source, folder / "out", PrepareOptions(num_buckets=2, max_history=max_history))
    return PreparedDataset.open(folder / "out")
