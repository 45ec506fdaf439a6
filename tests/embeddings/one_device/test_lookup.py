"""The local lookup: which row, in which order."""

import pytest
import torch

from pinfm.embeddings.hashing import hash_rows, hash_seeds
from pinfm.embeddings.one_device.lookup import MultiHashEmbedding, init_range
from pinfm.embeddings.rows import ManagedRows
from pinfm.embeddings.specs import IdTable

TABLE = IdTable(name="item", num_hashes=12, rows=37, dim=3, seed=2)


def test_one_row_of_each_sub_table_in_order():
    # Twelve sub-tables: item_10 would stand before item_2 if names were sorted.
    lookup = MultiHashEmbedding(TABLE)
    ids = torch.tensor([5, -7, 2**63 - 1, -(2**63), 5])
    rows = hash_rows(ids, hash_seeds(12, seed=2), 37)
    vectors = lookup(ids)
    assert vectors.shape == (5, lookup.dim) == (5, 36)
    for n in range(len(ids)):
        expected = [lookup.embeddings[f"item_{k}"].weight[rows[k, n]] for k in range(12)]
        assert torch.equal(vectors[n], torch.cat(expected))
    assert torch.equal(vectors[0], vectors[4])


def test_no_ids_give_no_vectors():
    assert MultiHashEmbedding(TABLE)(torch.zeros(0, dtype=torch.int64)).shape == (0, 36)


def test_gradients_reach_the_looked_up_rows_alone():
    lookup = MultiHashEmbedding(TABLE)
    lookup(torch.tensor([11])).sum().backward()
    rows = hash_rows(torch.tensor([11]), lookup.find.seeds_K2, 37)
    for k, embedding in enumerate(lookup.embeddings.values()):
        touched = embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist()
        assert touched == [rows[k, 0].item()]


def test_the_state_dict_names_sub_tables_as_training_does():
    assert list(MultiHashEmbedding(TABLE).state_dict()) == [f"embeddings.item_{k}.weight" for k in range(12)]


def test_torchscript_equals_eager():
    lookup = MultiHashEmbedding(TABLE)
    ids = torch.empty(200, dtype=torch.int64).random_(-(2**63), None)
    assert torch.equal(torch.jit.script(lookup)(ids), lookup(ids))


def test_managed_ids_have_the_same_rows_on_every_device(device):
    finder = ManagedRows(IdTable(name="item", num_hashes=2, rows=9, dim=3, ids="managed")).to(device)
    ids = torch.tensor([-(2**63), -1, 0, 5, 2**62, 2**63 - 2])
    finder.place(ids.to(device), torch.tensor([3, 0, 7, 1, 2, 4], device=device))
    asked = torch.tensor([2**63 - 2, -2, -1, 1, 5, 2**62 - 1, 2**62, 2**63 - 1, -(2**63)], device=device)
    assert finder(asked).tolist() == [[4, 8, 0, 8, 1, 8, 2, 8, 3]] * 2


@pytest.mark.parametrize(("num_hashes", "dim"), [(8, 32), (1, 5)])
def test_new_vectors_have_a_squared_length_of_a_third(num_hashes, dim):
    table = IdTable(name="item", num_hashes=num_hashes, rows=4000, dim=dim)
    low, high = init_range(table)
    vectors = MultiHashEmbedding(table)(torch.arange(4000)).detach()
    assert low <= vectors.min()
    assert vectors.max() <= high
    assert vectors.square().sum(1).mean() == pytest.approx(1 / 3, rel=0.05)
