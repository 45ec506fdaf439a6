"""The shardable collection: the same vectors as the local lookup, whatever samples the ids stand in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.embeddings.hashing import hash_rows, hash_seeds
from pinfm.embeddings.one_device.lookup import MultiHashEmbedding, init_range
from pinfm.embeddings.sharded.collections import RowFinder, concatenate_sub_tables, embedding_collection
from pinfm.embeddings.specs import IdTable

TABLES = (
    IdTable(name="item", num_hashes=3, rows=29, dim=4),
    IdTable(name="author", num_hashes=2, rows=17, dim=4, seed=1),
)
RAGGED = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), min_size=1, max_size=5)


def jagged(samples):
    return torch.tensor([i for ids in samples for i in ids], dtype=torch.int64), torch.tensor([len(s) for s in samples])


@pytest.fixture(scope="module")
def collection_and_lookups():
    collection = embedding_collection(TABLES, torch.device("cpu"))
    lookups = [MultiHashEmbedding(table) for table in TABLES]
    state = {name: weight for lookup in lookups for name, weight in lookup.state_dict().items()}
    collection.load_state_dict(state)
    return collection, lookups


@given(RAGGED, st.data())
@settings(max_examples=40)
def test_hasher_gives_one_key_a_sub_table_with_the_samples_lengths(items, data):
    authors = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=len(items), max_size=len(items)))
    rows = RowFinder(TABLES)({"author": jagged(authors), "item": jagged(items)})
    assert rows.keys() == ["item_0", "item_1", "item_2", "author_0", "author_1"]
    assert rows.stride() == len(items)
    for table, samples in zip(TABLES, (items, authors), strict=True):
        ids, lengths = jagged(samples)
        expected = hash_rows(ids, hash_seeds(table.num_hashes, table.seed), table.rows)
        for k, name in enumerate(table.sub_tables()):
            assert torch.equal(rows[name].values(), expected[k])
            assert torch.equal(rows[name].lengths(), lengths)


@given(RAGGED, st.data())
@settings(max_examples=40)
def test_collection_equals_the_local_lookup(collection_and_lookups, items, data):
    collection, lookups = collection_and_lookups
    authors = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=len(items), max_size=len(items)))
    vectors = collection(RowFinder(TABLES)({"item": jagged(items), "author": jagged(authors)}))
    for table, lookup, samples in zip(TABLES, lookups, (items, authors), strict=True):
        assert torch.equal(concatenate_sub_tables(vectors, table), lookup(jagged(samples)[0]))


def test_collections_start_within_the_bounds_of_the_local_lookup():
    collection = embedding_collection(TABLES, torch.device("cpu"))
    assert [config.name for config in collection.embedding_configs()] == [
        name for table in TABLES for name in table.sub_tables()
    ]
    for table in TABLES:
        low, high = init_range(table)
        for name in table.sub_tables():
            weight = collection.embeddings[name].weight
            assert weight.shape == (table.rows, table.dim)
            assert low <= weight.min() < low / 2 < high / 2 < weight.max() <= high


def test_collections_on_the_meta_device_hold_nothing():
    collection = embedding_collection(TABLES, torch.device("meta"))
    assert all(parameter.is_meta for parameter in collection.parameters())
