"""What histories are held against, by counting over the histories that it is made of."""

from collections import Counter

import pytest
import torch
from model_fakes import ITEM_DIM, NUM_ITEMS, collate, joint_model, random_requests, schema

from pinfm.model.adaptation.reference import make_reference
from pinfm.model.layers.tokens import gaps_to_next

CODES = schema().positive_codes()


@pytest.fixture
def material():
    """A tower, histories of others, their positive items by count, and the vectors of all items."""
    encoder, item_VE = joint_model(request_time=True).encoder.requires_grad_(False), torch.randn(NUM_ITEMS, ITEM_DIM)
    others = collate(random_requests([40, 0, 25, 1], [0] * 4, item_VE))
    events = zip(others.history.item_id.tolist(), others.history.action.tolist(), strict=True)
    return encoder, others, Counter(item for item, action in events if action in CODES), item_VE


def test_the_most_frequent_positive_items_and_how_often_they_stand_there(material):
    encoder, others, counts, item_VE = material
    reference = make_reference(encoder, others.history, others.item_TE, CODES, num_items=5)
    ids = reference.item_id.tolist()
    assert ids == sorted(set(ids))
    assert sorted(counts[item] for item in ids) == sorted(counts.values())[-5:]
    expected = torch.tensor([float(counts[item]) for item in ids]).log()
    torch.testing.assert_close(reference.log_weight, expected)
    torch.testing.assert_close(reference.z, encoder.psi(item_VE[reference.item_id]))
    assert reference.positive.tolist() == list(CODES)


def test_all_items_and_all_states_where_there_are_fewer(material):
    encoder, others, counts, _ = material
    reference = make_reference(encoder, others.history, others.item_TE, CODES)
    assert reference.item_id.tolist() == sorted(counts)
    context = encoder.encode_context(others.history, others.item_TE)
    torch.testing.assert_close(reference.states, encoder.states(context, gaps_to_next(others.history)))


def test_states_are_spread_over_all_events(material):
    encoder, others, _, _ = material
    whole, some = (
        make_reference(encoder, others.history, others.item_TE, CODES, num_states=count).states for count in (66, 6)
    )
    torch.testing.assert_close(some, whole[[0, 13, 26, 39, 52, 65]])
