"""Drawn candidates against plain loops: nothing of the moment or after it, and nothing that gives the answer away."""

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from pinfm.embeddings.errors import UserError
from pinfm.train.data.sampling.draw import draw_candidates
from pinfm.train.data.sampling.rule import CandidateRule

KINDS = ("uniform", "recent", "session")
WINDOW, NEWEST = 2, 3


def rule(kind, **fields):
    return CandidateRule(
        **{"others": 4, "draws": 8, "window_seconds": WINDOW, "session_events": NEWEST, **fields, "kind": kind}
    )


def drawn(log: pd.DataFrame, how: CandidateRule, created: dict[int, int] | None = None):
    """The requests that the answers (rows with `answer`) of a log in order make, and the counts."""
    events = log.assign(__position=range(len(log)))
    first = events.groupby("item_id")["timestamp"].min().to_dict()
    born = {**first, **(created or {})}
    births = pd.DataFrame({"item_id": list(born), "born": list(born.values())})
    with duckdb.connect() as connection:
        connection.register("events", events)
        connection.register("births_given", births)
        counts = draw_candidates(connection, how, "(FROM events WHERE answer)", "events", "births_given")
        rows = connection.execute("SELECT * FROM drawn ORDER BY __position").df()
    return rows.rename(columns={"of": "answered"}), counts, born


def times_before(log: pd.DataFrame, time: int) -> pd.DataFrame:
    return log[log["timestamp"] < time]


def drawable(log: pd.DataFrame, how: CandidateRule, born: dict[int, int], time: int) -> set[int]:
    """What candidates of a request at a time may be, by its kind."""
    there = {item for item, since in born.items() if since < time}
    before = times_before(log[log["answer"]], time)
    if how.kind == "recent":
        there &= set(before[before["timestamp"] >= time - how.window_seconds]["item_id"])
    if how.kind == "session":
        there &= set(before.tail(how.session_events)["item_id"])
    return there


LOGS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3), st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=250)
@given(
    rows=LOGS, kind=st.sampled_from(KINDS), created=st.dictionaries(st.integers(0, 12), st.integers(-5, 40), max_size=5)
)
def test_no_candidate_leaks(rows, kind, created):
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "pause", "answer"])
    log["timestamp"] = log.pop("pause").cumsum()
    how = rule(kind)
    try:
        found, counts, born = drawn(log, how, created)
    except UserError:
        found, counts, born = None, None, {**log.groupby("item_id")["timestamp"].min().to_dict(), **created}
    asked = {}
    for place, event in enumerate(log.itertuples()):
        had = log[(log["user_id"] == event.user_id) & (log["item_id"] == event.item_id)]
        is_first = had.index[0] == place
        if event.answer and is_first and event.item_id in drawable(log, how, born, event.timestamp):
            asked[place] = event
    if found is None:
        # None but those beside which every item was known or not there: no loop may find what draws did not reach.
        assert all(len(_others(log, how, born, event)) <= 4 for event in asked.values())
        return
    assert sum(counts.values()) == log["answer"].sum()
    assert counts["answers_had_before"] + counts["answers_not_drawable"] == log["answer"].sum() - len(asked)
    assert found["request_id"].nunique() == counts["sampled_requests"]
    for _, request in found.groupby("request_id"):
        event = asked[request["answered"].iloc[0]]
        assert set(request["user_id"]) == {event.user_id}
        assert set(request["timestamp"]) == {event.timestamp}
        assert request[request["answer"]]["item_id"].tolist() == [event.item_id]
        others = request[~request["answer"]]["item_id"].tolist()
        assert 0 < len(others) <= how.others
        assert set(others) <= _others(log, how, born, event)
        assert request["item_id"].tolist() == sorted({event.item_id, *others})


def _others(log, how, born, event) -> set[int]:
    """What may stand beside an answer: drawable, and nothing that its user had until then, or does at that moment."""
    had = log[(log["user_id"] == event.user_id) & (log["timestamp"] <= event.timestamp)]
    return drawable(log, how, born, event.timestamp) - set(had["item_id"])


def busy_log(seed: int = 0, events: int = 30_000) -> pd.DataFrame:
    """Users who take any item by its popularity, of which some go and others come."""
    rng = np.random.default_rng(seed)
    phase = np.arange(events) * 20 // events
    # Each twentieth of the log shifts the popular items by one.
    item = (phase + np.floor(60 * rng.random(events) ** 2)).astype(np.int64)
    table = {"user_id": rng.integers(0, 20_000, events), "item_id": item, "timestamp": np.arange(events) * 10}
    return pd.DataFrame(table).assign(answer=True)


@pytest.mark.parametrize("kind", ["recent", "session"])
def test_what_was_known_before_does_not_tell_the_answer(kind):
    # Who chooses by popularity alone leaves nothing to find: neither counts nor ages nor ids may tell more than chance.
    log = busy_log()
    how = rule(kind, window_seconds=15_000, session_events=1500, others=10, draws=20)
    found, _, born = drawn(log, how)
    found = found[found["timestamp"] > 20_000].sample(20_000, random_state=0)
    of_item = {item: rows.to_numpy() for item, rows in log.groupby("item_id")["timestamp"]}
    counts = [
        np.searchsorted(of_item[item], time) - np.searchsorted(of_item[item], time - 15_000)
        for item, time in zip(found["item_id"], found["timestamp"], strict=True)
    ]
    ages = found["timestamp"] - found["item_id"].map(born)
    for known in (counts, ages, found["item_id"]):
        assert roc_auc_score(found["answer"], known) == pytest.approx(0.5, abs=0.05)


def test_uniform_draws_are_flat_and_recent_ones_popular():
    log = busy_log(1)
    found, _, born = drawn(log, rule("uniform", others=10, draws=20))
    late = found[~found["answer"] & (found["timestamp"] > 250_000)]["item_id"].value_counts()
    old = [item for item, since in born.items() if since < 250_000]
    assert late.reindex(old).min() > 0.6 * late.mean()
    assert late.max() < 1.5 * late.mean()
    found, _, _ = drawn(log, rule("recent", others=1, draws=1, window_seconds=3000))
    window = log[log["timestamp"].between(297_000, 300_000)]["item_id"].value_counts(normalize=True)
    last = found[~found["answer"] & (found["timestamp"] > 297_000)]["item_id"].value_counts(normalize=True)
    assert np.corrcoef(window, last.reindex(window.index).fillna(0))[0, 1] > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_log_and_seed_give_the_same_draws(kind):
    log = busy_log(2, 2000)
    first, again, other = (drawn(log, rule(kind, seed=seed, window_seconds=5000))[0] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first["item_id"].equals(other["item_id"])


def test_the_number_of_candidates_is_reached_where_there_are_enough():
    found, counts, _ = drawn(busy_log(3, 5000), rule("uniform", others=10, draws=20))
    sizes = found[found["timestamp"] > 10_000].groupby("request_id").size()
    assert (sizes == 11).mean() > 0.99
    assert counts["answers_alone"] == 0


def test_a_log_that_makes_no_request_is_an_error():
    log = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "timestamp": [5, 6], "answer": True})
    with pytest.raises(UserError, match=r"no request of 2 answers \(answers_not_drawable: 2\); draw from more, by"):
        drawn(log, rule("uniform"))


def test_a_log_without_answers_is_an_error():
    log = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "timestamp": [5, 6], "answer": False})
    with pytest.raises(UserError, match="no event is of an action that --tasks names, so there is no answer"):
        drawn(log, rule("uniform"))
