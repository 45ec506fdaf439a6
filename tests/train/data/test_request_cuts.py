"""A request never reaches from one split into the next, and a session is no request."""

import pandas as pd
import pytest

from pinfm.embeddings.errors import UserError

HOUR = 3600
OF_IMPRESSIONS = ("tasks", "dense_features", "categorical_features", "request_features")


def sessions(*times, session=5, items=None):
    """Impressions of one user: `times` of the given session, and ten requests of two before and after."""
    items = items or range(500, 500 + len(times))
    own = pd.DataFrame({"request_id": session, "timestamp": times, "item_id": items})
    return own.assign(user_id=1, surface="home", click=True, price=1.0, shop=3, hour=session)


def write(logs, own):
    def spoil(table):
        return pd.concat([table[table.request_id != 5], own])

    logs.write(impressions=spoil)


SPLITS = ("train", "validation", "test")


def rows(dataset):
    """(split, request) of every request of the dataset."""
    for split in SPLITS:
        for bucket in range(2):
            yield from ((split, row) for row in dataset.requests(split, bucket).to_pylist())


def requests(dataset):
    """(split, time, items) of the requests that hold the items of `sessions`, by time."""
    own = [(split, row["timestamp"], row["item_id"]) for split, row in rows(dataset)]
    return sorted((request for request in own if request[2][0] >= 500), key=lambda request: request[1])


def test_a_request_of_days_is_refused(logs):
    write(logs, sessions(HOUR, 2 * HOUR, 40 * HOUR))
    with pytest.raises(UserError, match=r"the request 5 lasts from 1970-01-01 01:00 to 1970-01-02 16:00 \(1 last over"):
        logs.prepare()


def test_a_session_is_split_where_it_pauses(logs):
    write(logs, sessions(HOUR, HOUR + 60, 40 * HOUR))
    dataset = logs.prepare(request_gap_minutes=30, validation_start="1970-01-02")
    assert requests(dataset) == [("train", HOUR, [500, 501]), ("validation", 40 * HOUR, [502])]
    counts = dataset.info.counts
    assert counts.source == {"requests_split_at_pauses": 1}
    assert sum(counts.requests.values()) == 11
    assert any("1 requests begin after a pause of 30 minutes" in note for note in dataset.info.notes)


def test_an_item_of_two_parts_of_a_session_is_none_too_many(logs):
    write(logs, sessions(HOUR, 40 * HOUR, items=[500, 500]))
    with pytest.raises(UserError, match="column item_id: '500' stands there a second time in the same request_id"):
        logs.prepare()
    assert len(requests(logs.prepare(request_gap_minutes=30))) == 2


def test_a_request_is_cut_where_a_split_starts(logs):
    write(logs, sessions(23 * HOUR, 24 * HOUR - 1, 24 * HOUR))
    dataset = logs.prepare(validation_start="1970-01-02", test_start="1970-01-02")
    assert requests(dataset) == [("train", 23 * HOUR, [500, 501]), ("test", 24 * HOUR, [502])]
    assert dataset.info.counts.source == {"requests_cut_at_splits": 1}
    assert sum(dataset.info.counts.requests.values()) == 11


def test_new_ids_are_free_ones(logs):
    own = pd.concat([sessions(HOUR, 40 * HOUR, session=request) for request in (5, 10, 11, 12)])
    own = own.assign(item_id=range(500, 508))
    write(logs, own)
    dataset = logs.prepare(request_gap_minutes=30)
    ids = [row["request_id"] for _, row in rows(dataset)]
    assert len(ids) == len(set(ids)) == 9 + 8


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"request_gap_minutes": 0}, r"request_gap_minutes \(0\) must be above 0"),
        (
            {
                "request_gap_minutes": 5,
                "impressions": None,
                "tasks": [],
                "dense_features": [],
                "categorical_features": [],
            }
            | {"request_features": []},
            "request_gap_minutes splits impressions",
        ),
    ],
)
def test_a_gap_that_splits_nothing_is_refused(logs, fields, match):
    logs.write()
    with pytest.raises(UserError, match=match):
        logs.prepare(**fields)
