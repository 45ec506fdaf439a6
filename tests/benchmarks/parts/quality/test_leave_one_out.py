"""The protocol against a loop over users."""

import numpy as np
import pytest

from benchmarks.parts.quality.leave_one_out import held_out, kept_items, leave_one_out, with_validation
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.queries import bucket_events


@pytest.fixture
def data(dataset):
    return PreparedDataset.open(dataset)


def items_by_user(dataset, catalogue=None, split=None):
    found = {}
    for bucket in range(dataset.info.num_buckets):
        events = bucket_events(dataset, bucket)
        for place, (user, item) in enumerate(zip(events["user_id"].tolist(), events["item_id"].tolist(), strict=True)):
            if (catalogue is None or item in catalogue) and (split is None or events["split"][place] == split):
                found.setdefault(user, []).append(item)
    return found


def test_items_with_few_events_are_left_out(data):
    counts = np.unique([item for items in items_by_user(data).values() for item in items], return_counts=True)
    expected = [item for item, count in zip(*(x.tolist() for x in counts), strict=True) if count >= 5]
    assert kept_items(data, 5).tolist() == expected
    assert len(expected) < len(counts[0])


@pytest.fixture
def held_out_data(data, tmp_path):
    return leave_one_out(data, kept_items(data, 5), tmp_path / "leave_one_out")


def test_the_newest_events_of_kept_items_are_held_out(data, held_out_data, tmp_path):
    catalogue = kept_items(data, 5).tolist()
    by_user = items_by_user(data, set(catalogue))
    assert items_by_user(held_out_data) == by_user
    assert not (tmp_path / "leave_one_out_tables").exists()
    for dataset, places in ((held_out_data, 2), (with_validation(held_out_data, tmp_path / "more"), 1)):
        training = {user: items[:-places] if len(items) > 2 else items for user, items in by_user.items()}
        assert items_by_user(dataset, split=0) == training
        items = dataset.items().to_pandas()
        assert items["item_id"].tolist() == catalogue
        counted = [item for items in training.values() for item in items]
        assert items["event_count"].tolist() == [counted.count(item) for item in catalogue]
        assert dataset.info.schema.positive_actions == dataset.info.schema.actions == data.info.schema.actions
        assert dataset.known_items().tolist() == catalogue


@pytest.mark.parametrize(("split", "place"), [("test", 1), ("validation", 2)])
def test_every_user_has_one_target(data, held_out_data, split, place):
    found = {}
    for events, first, target in held_out(held_out_data, split):
        for begin, end in zip(first.tolist(), target.tolist(), strict=True):
            found[int(events["user_id"][end])] = (events["item_id"][begin:end].tolist(), int(events["item_id"][end]))
    by_user = items_by_user(data, set(kept_items(data, 5).tolist()))
    expected = {user: (items[:-place], items[-place]) for user, items in by_user.items() if len(items) > 2}
    assert found == expected
