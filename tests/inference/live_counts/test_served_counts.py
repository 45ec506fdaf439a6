"""LiveCounts against a plain loop over all marks; what it refuses; what it tells of itself."""

import re
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops_of_counts import plain_counts

from pinfm.embeddings.errors import UserError
from pinfm.inference import LiveCounts
from pinfm.inference.requests.ids import text_id
from pinfm.model.live_counts import LARGEST_COUNT, LiveCountsSpec

SPEC = LiveCountsSpec(
    of=("item", "shop", "user.shop"),
    kinds=("impression", "add to cart", "label_click"),
    windows=("1min", "2min", "1h", "all"),
    label_delay_seconds=7,
)
ITEMS_ALONE = LiveCountsSpec(of=("item",), kinds=("click", "save"), windows=("1h", "all"))
# Seconds that windows of a minute share, the grid's points among them.
START = 1_700_000_040
MARKS = st.lists(
    st.fixed_dictionaries(
        {
            "timestamp": st.integers(START - 130, START + 300),
            "item_id": st.sampled_from([0, 1, -5, 2**63 - 1]),
            "user_id": st.sampled_from([0, 8]),
            "shop": st.sampled_from([0, 3, -4]),
            "kind": st.sampled_from(SPEC.kinds),
        }
    ),
    max_size=12,
)
CANDIDATES = pd.DataFrame(
    {"item_id": [0, 1, -5, 2**63 - 1, 77, 1], "shop": [3, 0, -4, 3, 9, -4]}  # one item and one shop that had no mark
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), MARKS),
        st.tuples(st.just("at"), st.integers(START - 70, START + 400)),
        st.tuples(st.just("save"), st.none()),
    ),
    max_size=12,
)


def frame_of(marks):
    """Marks with the columns of `SPEC`, of the right types even where there are none."""
    columns = {"timestamp": "int64", "item_id": "int64", "user_id": "int64", "shop": "int64", "kind": "str"}
    return pd.DataFrame(marks, columns=list(columns)).astype(columns)


def one(timestamp=START, item_id=1, kind="click", **more):
    return pd.DataFrame({"timestamp": [timestamp], "item_id": [item_id], "kind": [kind], **more})


@given(steps=STEPS, in_order=st.booleans())
@settings(max_examples=150)
def test_counters_are_those_of_a_plain_loop(tmp_path_factory, steps, in_order):
    """Late and early marks, ties, requests in order of time or not, and a host that is stopped now and then."""
    path = tmp_path_factory.getbasetemp() / "counts"
    counts, marks, clock = LiveCounts(SPEC), [], 0
    if in_order:
        times = iter(sorted(value for step, value in steps if step == "at"))
        steps = [(step, next(times) if step == "at" else value) for step, value in steps]
    for step, value in steps:
        if step == "add":
            counts.add(frame_of(value))
            marks += value
        elif step == "save":
            counts.save(path)
            counts = LiveCounts.load(path)
        else:
            clock = max(clock, value)
            found = counts.at(value, CANDIDATES["item_id"], 8, {"shop": CANDIDATES["shop"]})
            expected = [
                plain_counts(SPEC, marks, clock, {"user_id": 8, **row}) for row in CANDIDATES.to_dict("records")
            ]
            pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected).astype("float32"))
            assert counts.clock == clock


def test_a_long_stream_is_counted_as_a_plain_loop_counts():
    """Thousands of keys, so that tables grow and overflow, and pending runs are merged."""
    rng = np.random.default_rng(0)
    spec = LiveCountsSpec(of=("item", "user.shop"), kinds=("click", "save"), windows=("1h", "1d"))
    size = 30_000
    stream = pd.DataFrame(
        {
            "timestamp": START + rng.integers(0, 3 * 86400, size),
            "item_id": rng.integers(0, 6000, size) << rng.choice([0, 40], size),
            "user_id": rng.integers(0, 50, size),
            "shop": rng.integers(0, 200, size),
            "kind": rng.choice(["click", "save"], size),
        }
    )
    counts = LiveCounts(spec)
    for start in range(0, size, 500):
        counts.add(stream[start : start + 500])
    asked = stream.sample(300, random_state=0)
    stream["second"] = stream["timestamp"]
    for now in (START + 1800, START + 90_000, START + 250_123):
        found = counts.at(now, asked["item_id"], 7, {"shop": asked["shop"]})
        for window, length in (("1h", 3600), ("1d", 86400)):
            first = (now // (length // 12) - 12) * (length // 12)
            inside = stream[stream["timestamp"].between(first, now - 1) & (stream["kind"] == "save")]
            of_items, of_shops = inside["item_id"].value_counts(), inside[inside["user_id"] == 7]["shop"].value_counts()
            assert found[f"item_save_{window}"].tolist() == [of_items.get(item, 0) for item in asked["item_id"]]
            assert found[f"user_shop_save_{window}"].tolist() == [of_shops.get(shop, 0) for shop in asked["shop"]]
    assert counts.stats()["keys"] == {
        "item": stream.query("timestamp < @now")["item_id"].nunique(),
        "user.shop": len(stream.query("timestamp < @now and shop != 0")[["user_id", "shop"]].drop_duplicates()),
    }


def test_requests_are_filled_in_order_of_time():
    counts, other = LiveCounts(SPEC), LiveCounts(SPEC)
    marks = frame_of(
        [
            {"timestamp": START + second, "item_id": second % 3, "user_id": 8, "shop": 3, "kind": "impression"}
            for second in range(100)
        ]
    )
    requests = pd.DataFrame(
        {
            "user_id": [8, 9, 8],
            "request_timestamp": [START + 90, START + 10, START + 50],
            "candidate_item_id": [[0, 1], [], [2]],
            "shop": [[3, 0], [], [3]],
        },
        index=[5, 3, 9],
    )
    counts.add(marks)
    filled = counts.fill(requests)
    pd.testing.assert_frame_equal(filled[requests.columns.tolist()], requests)
    assert filled.columns.tolist() == [*requests.columns, *SPEC.names()]
    other.add(marks)
    for row in (1, 2, 0):
        asked = requests.iloc[row]
        found = other.at(
            asked["request_timestamp"], asked["candidate_item_id"], asked["user_id"], {"shop": asked["shop"]}
        )
        for name in SPEC.names():
            np.testing.assert_array_equal(filled[name].iloc[row], found[name])
    assert filled["item_impression_all"].map(sum).tolist() == [60, 0, 16]
    assert counts.stats()["behind"] == 0


@pytest.mark.parametrize(("ids", "items"), [("text", ["b", "a"]), ("uint64", [2**64 - 2, 2**63]), ("int64", [-2, 7])])
def test_ids_are_written_as_in_the_log(ids, items):
    counts = LiveCounts(ITEMS_ALONE, ids={"item_id": ids})
    counts.add(
        pd.DataFrame({"timestamp": [START] * 3, "item_id": [items[0], items[1], items[0]], "kind": ["click"] * 3})
    )
    assert counts.at(START + 1, items)["item_click_all"].tolist() == [2, 1]
    if ids == "text":
        keys = counts._counters["item"].table.entries()[0]
        assert sorted(keys[:, 0]) == sorted(map(text_id, items))


def test_times_may_be_of_any_type_that_requests_have():
    counts = LiveCounts(ITEMS_ALONE)
    times = pd.to_datetime(pd.Series([START, START + 1]), unit="s")
    counts.add(pd.DataFrame({"timestamp": times, "item_id": [1, 1], "kind": pd.Categorical(["save", "click"])}))
    found = counts.at(times[1], [1])
    assert (found["item_save_1h"].tolist(), found["item_click_1h"].tolist()) == ([1], [0])


def test_kinds_that_are_whole_numbers_are_read_as_in_histories():
    counts = LiveCounts(LiveCountsSpec(of=("item",), kinds=("4", "-1"), windows=("all",)))
    counts.add(pd.DataFrame({"timestamp": START, "item_id": 1, "kind": [4, 4, -1]}))
    counts.add(pd.concat([one(kind=4.0), one(kind="4.0")]))
    assert {name: value.tolist() for name, value in counts.at(START + 1, [1]).items()} == {
        "item_4_all": [4],
        "item__1_all": [1],
    }


def test_a_counter_stops_at_the_largest_count():
    counts = LiveCounts(ITEMS_ALONE)
    counts.add(one())
    counts.advance(START + 1)
    counts._counters["item"].counts.sums_RWK[1] = LARGEST_COUNT + 5
    assert counts.at(START + 1, [1])["item_click_all"].tolist() == [LARGEST_COUNT]


def test_a_request_behind_the_clock_is_answered_as_of_the_clock():
    counts = LiveCounts(ITEMS_ALONE)
    counts.add(pd.concat([one(START), one(START + 50)]))
    counts.advance(START + 60)
    assert counts.at(START + 10, [1])["item_click_1h"].tolist() == [2]
    counts.advance(START)
    assert counts.clock == START + 60
    assert counts.stats()["behind"] == 1


def test_late_and_waiting_marks_are_told():
    counts = LiveCounts(ITEMS_ALONE, max_pending=2)
    counts.add(pd.concat([one(START), one(START + 9)]))
    assert counts.stats()["pending"] == 2
    counts.advance(START + 9)
    counts.add(one(START - 7200))
    stats = counts.stats()
    assert (stats["pending"], stats["late"]) == (1, 1)
    found = counts.at(START + 9, [1])
    assert (found["item_click_1h"].tolist(), found["item_click_all"].tolist()) == ([1], [2])
    with pytest.raises(UserError, match=r"^3 marks would wait for the clock, more than max_pending \(2\); call adva"):
        counts.add(pd.concat([one(START + 9), one(START + 10), one(START)]))
    assert counts.stats() == stats


def test_memory_is_bounded_and_the_longest_quiet_leave():
    counts = LiveCounts(ITEMS_ALONE, max_keys=32)
    for item in range(32):
        counts.add(one(START + item, item))
    counts.add(one(START + 40, 0))  # so it is not the longest quiet any more
    counts.advance(START + 41)
    size = counts.stats()["bytes"]
    counts.add(one(START + 50, 100))
    counts.advance(START + 51)
    assert counts.at(START + 51, range(5))["item_click_all"].tolist() == [2, 0, 0, 1, 1]
    stats = counts.stats()
    assert (stats["keys"], stats["evicted"]) == ({"item": 31}, 2)
    for item in range(1000):
        counts.add(one(START + 100 + item, 1000 + item))
    counts.advance(START + 2000)
    stats = counts.stats()
    assert stats["keys"]["item"] <= 32
    assert stats["bytes"] <= size + 8 * 32  # rows that were given back
    assert stats["evicted"] == 1033 - stats["keys"]["item"]
    newest = counts.at(START + 2000, range(1000, 2000))["item_click_all"]
    assert newest.tolist() == [0] * (1000 - stats["keys"]["item"]) + [1] * stats["keys"]["item"]


@given(max_keys=st.integers(1, 70), items=st.lists(st.lists(st.integers(0, 90), max_size=60), max_size=5))
def test_keys_that_stay_keep_their_counts(max_keys, items):
    """However few may stay: what is counted of a key is what came since it last entered, and never more."""
    counts, now = LiveCounts(ITEMS_ALONE, max_keys=max_keys), START
    for batch in items:
        for item in batch:
            now += 1
            counts.add(one(now, item))
        now += 1
        counts.advance(now)
        assert counts.stats()["keys"]["item"] <= max_keys
    flat = [item for batch in items for item in batch]
    found = counts.at(now, range(91))["item_click_all"]
    assert all(found[item] <= flat.count(item) for item in range(91))
    assert (found > 0).sum() == counts.stats()["keys"]["item"]
    if flat:
        assert found[flat[-1]] > 0
    if len(set(flat)) <= max_keys:
        assert found.tolist() == [flat.count(item) for item in range(91)]


def test_threads_may_feed_and_ask_at_once():
    counts = LiveCounts(ITEMS_ALONE)
    failed = []

    def feed(kind):
        for second in range(200):
            counts.add(one(START + second, kind=kind))

    def ask():
        last = 0
        for second in range(200):
            (now,) = counts.at(START + second, [1])["item_click_all"]
            if now < last:
                failed.append((last, now))
            last = now

    threads = [threading.Thread(target=feed, args=[kind]) for kind in ("click", "save")] + [
        threading.Thread(target=ask)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = counts.at(START + 1000, [1])
    assert not failed
    assert (found["item_click_all"].tolist(), found["item_save_all"].tolist()) == ([200], [200])


BAD_MARKS = {
    "a kind": (one(kind="hide"), r"row 0: kind 'hide' is none of those counted \(click, save\); leave such marks out"),
    "a missing kind": (one(kind=None), r"row 0: kind .* is none of those counted"),
    "a number": (one(kind=3), r"row 0: kind 3 is none of those counted"),
    "lists": (one(kind=[["click"]]), r"the marks' kind holds lists; give the name of one kind a row"),
    "a column": (
        one().drop(columns="item_id"),
        r"lack the column 'item_id'; they need \['timestamp', 'kind', ",
    ),
    "no time": (one("noon"), "row 0: timestamp holds a missing value or something that is no time"),
    "milliseconds": (
        one(START * 1000),
        "row 0: timestamp holds 1700000040000, which lies in the future; give",
    ),
    "before 1970": (pd.concat([one(), one(-3)]), "row 1: timestamp holds -3, before 1970; give Unix seconds"),
    "an id": (pd.concat([one(), one(item_id="B00")]), "row 1: item_id holds a missing value, or no whole number"),
    "two columns": (
        pd.concat([one(), one()[["timestamp"]]], axis=1),
        "the marks have two columns called 'timestamp'; rename or drop one",
    ),
    "no frame": (one().to_dict("list"), "the marks are no pandas DataFrame but dict; make one of them"),
    "a list of ids": (one(item_id=[[1]]), "row 0: item_id holds a missing value, or no whole number"),
}


@pytest.mark.parametrize("mistake", BAD_MARKS)
def test_a_bad_mark_is_one_sentence_and_nothing_is_taken(mistake):
    marks, sentence = BAD_MARKS[mistake]
    counts = LiveCounts(ITEMS_ALONE)
    with pytest.raises(UserError, match=sentence) as told:
        counts.add(marks)
    assert re.fullmatch(r"[^\n]+\.", str(told.value))
    assert counts.stats()["pending"] == 0


GOOD = {"timestamp": START, "item_ids": [1, 2], "user_id": 8, "attributes": {"shop": [1, 1]}}
BAD_REQUESTS = {
    "no attribute": ({"attributes": None}, r"the request lacks the attribute 'shop'; give one value a candidate"),
    "too few": ({"attributes": {"shop": [1]}}, "shop has 1 values for 2 candidates; give one each"),
    "no user": ({"user_id": None}, "row 0: user_id holds a missing value"),
    "an id": ({"item_ids": [1, "x"]}, "row 1: item_id holds a missing value, "),
    "one item": ({"item_ids": 1}, "item_id is no list; give one value a candidate"),
    "lists of items": ({"item_ids": np.ones((2, 2), int)}, "item_id is no list; give one value a candidate"),
    "one shop": ({"attributes": {"shop": 1}}, "shop is no list; give one value a candidate"),
    "no time": ({"timestamp": "x"}, "row 0: timestamp holds a missing value or something"),
}


@pytest.mark.parametrize("mistake", BAD_REQUESTS)
def test_a_bad_request_is_one_sentence_and_the_clock_stays(mistake):
    request, sentence = BAD_REQUESTS[mistake]
    counts = LiveCounts(SPEC)
    with pytest.raises(UserError, match=sentence):
        counts.at(**{**GOOD, **request})
    assert counts.clock == 0


FRAME = pd.DataFrame({"user_id": [8], "request_timestamp": [START], "candidate_item_id": [[1]], "shop": [[3]]})
BAD_FRAMES = {
    **{
        name: (FRAME.drop(columns=name), f"the requests lack the column {name!r}; the counters are made of it")
        for name in FRAME
    },
    "lengths": (FRAME.assign(shop=[[1, 2]]), "row 0: shop has 2 values, candidate_item_id has 1; the lists of a"),
    "two columns": (
        pd.concat([FRAME, FRAME[["user_id"]]], axis=1),
        "the requests have two columns called 'user_id'; rename or drop one",
    ),
    "no frame": (FRAME.to_dict("list"), "the requests are no pandas DataFrame but dict; make one of them"),
    "a time": (FRAME.assign(request_timestamp=-1), "row 0: request_timestamp holds -1, before 1970"),
}


@pytest.mark.parametrize("mistake", BAD_FRAMES)
def test_a_bad_frame_is_one_sentence_and_the_clock_stays(mistake):
    frame, sentence = BAD_FRAMES[mistake]
    counts = LiveCounts(SPEC)
    with pytest.raises(UserError, match=sentence):
        counts.fill(frame)
    assert counts.clock == 0


@pytest.mark.parametrize("setting", ["max_keys", "max_pending"])
def test_limits_below_one_are_refused(setting):
    with pytest.raises(UserError, match=rf"{setting} \(0\) must be at least 1"):
        LiveCounts(SPEC, **{setting: 0})


def test_an_attribute_called_like_a_column_of_marks_is_refused():
    with pytest.raises(UserError, match=r"the attribute 'kind' has the name of another column of marks; rename it"):
        LiveCounts(LiveCountsSpec(of=("user.kind",), kinds=("click",)))
