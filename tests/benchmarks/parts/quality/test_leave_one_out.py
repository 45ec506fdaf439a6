"""The protocol against a loop over users."""

import numpy as np
import pytest

from benchmarks.parts.quality.leave_one_out import TEST, VALIDATION, kept_items, last_items, without_last
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.queries import bucket_events


@pytest.fixture
def data(dataset):
    return PreparedDataset.open(dataset)


def items_by_user(dataset, catalogue=None):
    found = {}
    for bucket in range(dataset.info.num_buckets):
        events = bucket_events(dataset, bucket)
        for user, item in zip(events["user_id"].tolist(), events["item_id"].tolist(), strict=True):
            if catalogue is None or item in catalogue:
                found.setdefault(user, []).append(item)
    return found


def test_items_with_few_events_are_left_out(data):
    counts = np.unique([item for items in items_by_user(data).values() for item in items], return_counts=True)
    expected = [item for item, count in zip(*(x.tolist() for x in counts), strict=True) if count >= 5]
    assert kept_items(data, 5).tolist() == expected
    assert len(expected) < len(counts[0])


@pytest.mark.parametrize("held_out", [TEST, VALIDATION])
def test_the_newest_events_are_left_out(data, tmp_path, held_out):
    catalogue = kept_items(data, 5)
    copy = without_last(data, catalogue, held_out, tmp_path / "copy")
    expected = {user: items[:-held_out] for user, items in items_by_user(data, set(catalogue.tolist())).items()}
    assert items_by_user(copy) == {user: items for user, items in expected.items() if items}
    items = copy.items().to_pandas()
    assert items["item_id"].tolist() == catalogue.tolist()
    counted = [item for items in expected.values() for item in items]
    assert items["event_count"].tolist() == [counted.count(item) for item in catalogue.tolist()]
    assert copy.info.schema.positive_actions == data.info.schema.actions
    assert copy.info.splits["train"][1] == data.info.splits["test"][1]


@pytest.mark.parametrize("place", [TEST, VALIDATION])
def test_every_user_has_one_target(data, place):
    catalogue = kept_items(data, 5)
    found = {}
    for events, first, target in last_items(data, catalogue, place):
        for begin, end in zip(first.tolist(), target.tolist(), strict=True):
            found[int(events["user_id"][end])] = (events["item_id"][begin:end].tolist(), int(events["item_id"][end]))
    by_user = items_by_user(data, set(catalogue.tolist()))
    expected = {user: (items[:-place], items[-place]) for user, items in by_user.items() if len(items) > place}
    assert found == expected
