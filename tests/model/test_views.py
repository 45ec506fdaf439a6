"""Parts of histories against loops over their events."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pinfm.model.inputs import History
from pinfm.model.views import newest_events, root_mean_square, two_views

# Histories of events that are told apart by their numbers, each in the first view or in the second.
HISTORIES = st.lists(st.lists(st.booleans(), max_size=5), min_size=1, max_size=4)


def history_of(events_by_user):
    events = torch.tensor([event for events in events_by_user for event in events], dtype=torch.int64)
    lengths = torch.tensor([len(events) for events in events_by_user])
    return History(lengths, events, events + 100, events + 200, events + 300)


def vectors_of(history):
    return torch.stack([history.item_id, -history.item_id], dim=1).float()


@given(HISTORIES)
def test_every_event_is_in_one_of_two_views(firsts):
    count = iter(range(1000))
    events = [[(next(count), first) for first in of_user] for of_user in firsts]
    whole = history_of([[event for event, _ in of_user] for of_user in events])
    views, view_TE = two_views(
        whole, vectors_of(whole), torch.tensor([first for of_user in firsts for first in of_user], dtype=torch.bool)
    )
    expected = history_of(
        [[event for event, first in of_user if first == wanted] for wanted in (True, False) for of_user in events]
    )
    for field, ours, theirs in zip(History._fields, views, expected, strict=True):
        assert torch.equal(ours, theirs), field
    assert torch.equal(view_TE, vectors_of(expected))
    newest = newest_events(views.lengths)
    for last, length, end in zip(newest, views.lengths, torch.cumsum(views.lengths, 0), strict=True):
        assert not length or last == end - 1


def test_the_size_of_a_history_is_of_all_its_components():
    vectors = torch.randn(5, 3)
    lengths = torch.tensor([2, 0, 3])
    sizes = root_mean_square(vectors, torch.repeat_interleave(lengths), lengths)
    expected = torch.stack([vectors[:2].square().mean().sqrt(), torch.zeros(()), vectors[2:].square().mean().sqrt()])
    torch.testing.assert_close(sizes, expected)
    assert root_mean_square(vectors.half(), torch.repeat_interleave(lengths), lengths).dtype == torch.float16
