"""Exact search: what brute force finds, alone and in any batch, in Python and in TorchScript."""

import io
import os
import subprocess
import sys

import pytest
import torch
from catalogues import index_of, one_by_one
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.inference.index.search import USERS, ExactIndex, has_int_products, two_rows
from pinfm.inference.index.top_k import top_k

NOBODY = {"exclude_lengths": torch.zeros(1, dtype=torch.int64), "exclude_item_id": torch.zeros(0, dtype=torch.int64)}


def saved(index):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(index), file)
    file.seek(0)
    return torch.jit.load(file)


def jagged(lists):
    lengths = torch.tensor([len(values) for values in lists], dtype=torch.int64)
    return lengths, torch.tensor([value for values in lists for value in values], dtype=torch.int64)


@given(
    st.lists(
        st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0, float("-inf")]), min_size=1, max_size=300), max_size=3
    ),
    st.integers(1, 40),
    st.sampled_from([1, 3, 8]),
)
def test_the_best_of_a_row_are_those_of_a_stable_sort(rows, k, chunk):
    width = -(-max([len(row) for row in rows], default=1) // chunk) * chunk
    scores = torch.tensor([row + [float("-inf")] * (width - len(row)) for row in rows]).view(len(rows), width)
    expected = torch.sort(scores, dim=1, descending=True, stable=True)
    values, columns = top_k(scores, k, chunk)
    assert torch.equal(values, expected.values[:, :k])
    assert torch.equal(columns[values > float("-inf")], expected.indices[:, :k][values > float("-inf")])


@settings(max_examples=60)
@given(st.data())
def test_it_finds_what_brute_force_finds(data):
    """Vectors of few values, so that many products are equal."""
    count, users = data.draw(st.integers(0, 90)), data.draw(st.integers(1, 2 * USERS + 1))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    vectors = torch.randint(-2, 3, (count, 4), generator=generator).float()
    ids = sorted(data.draw(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count)))
    categories = torch.randint(0, 3, (count,), generator=generator).tolist()
    index = index_of(vectors, ids, categories)
    queries = torch.randint(-2, 3, (users, 4), generator=generator).float()
    queries[(queries == 0).all(1)] = 1.0
    some = st.lists(st.sampled_from([*ids, 5]), max_size=6)
    seen, excluded = ([data.draw(some) for _ in range(users)] for _ in range(2))
    wanted = [data.draw(st.lists(st.integers(0, 4), max_size=2)) for _ in range(users)]
    k = data.draw(st.integers(1, 100))
    asked = {}
    for name, lists in (("exclude_item_id", excluded), ("filter_category", wanted)):
        lengths = "exclude_lengths" if name == "exclude_item_id" else f"{name}_lengths"
        asked[lengths], asked[name] = jagged(lists)
    found, items, products = index(queries, *jagged(seen), asked, k)
    for user, of_user in enumerate(items.split(found.tolist())):
        hidden = {*seen[user], *excluded[user]}
        assert of_user.tolist() == one_by_one(index, queries[user], hidden, categories, set(wanted[user]), k)
    owner = torch.repeat_interleave(found)
    exact = (vectors[torch.searchsorted(index.ids_V, items)] * queries[owner]).sum(1)
    torch.testing.assert_close(products, exact, rtol=1e-2, atol=5e-2)


@pytest.mark.parametrize("int_products", [True, False])
@torch.no_grad()
def test_a_user_finds_the_same_alone_and_in_a_batch_bit_for_bit(int_products):
    vectors = torch.nn.functional.normalize(torch.randn(3000, 16))
    index = index_of(vectors, range(3000), [0] * 3000)
    index.items = 1 << 10  # several blocks
    served = saved(index)
    if not int_products:
        index.int_products = served.int_products = False
    users = torch.nn.functional.normalize(torch.randn(2 * USERS + 3, 16))
    none = torch.zeros(len(users), dtype=torch.int64)
    together = index(users, none, none[:0], {}, 50)
    assert all(torch.equal(a, b) for a, b in zip(together, served(users, none, none[:0], {}, 50), strict=True))
    alone = [served(user[None], none[:1], none[:0], {}, 50) for user in users]
    for place in range(3):
        assert torch.equal(torch.cat([parts[place] for parts in alone]), together[place])


def test_both_ways_to_multiply_give_the_same():
    vectors = torch.nn.functional.normalize(torch.randn(500, 64))
    index = index_of(vectors, range(500), [0] * 500)
    users, none = torch.randn(3, 64), torch.zeros(3, dtype=torch.int64)
    assert has_int_products(64) == index.int_products
    expected = index(users, none, none[:0], {}, 100)
    index.int_products = False
    assert all(torch.equal(a, b) for a, b in zip(index(users, none, none[:0], {}, 100), expected, strict=True))


SEARCH = """
import sys
import torch
from pinfm.inference.index.build import int8_rows
from pinfm.inference.index.search import ExactIndex, has_int_products

generator = torch.Generator().manual_seed(0)
rows, scales = int8_rows(torch.randn(3000, 64, generator=generator))
index = ExactIndex([], torch.ones(64), 0)
for name, values in (("rows", rows), ("scales", scales[:, None]), ("ids", torch.arange(3000)[:, None])):
    index.place(name, values)
none = torch.zeros(9, dtype=torch.int64)
torch.save((has_int_products(64), index(torch.randn(9, 64, generator=generator), none, none[:0], {}, 50)), sys.argv[1])
"""


@pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni"), reason="this processor has no VNNI that could be left out"
)
def test_a_processor_without_vnni_finds_the_same(tmp_path):
    """Its products of int8 are wrong, so that they are taken in float32."""
    found = {}
    for isa in ("DEFAULT", "AVX2"):
        words = [sys.executable, "-W", "ignore", "-c", SEARCH, tmp_path / isa]
        subprocess.run(words, check=True, env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa})
        found[isa] = torch.load(tmp_path / isa)
    assert (found["DEFAULT"][0], found["AVX2"][0]) == (True, False)
    assert all(torch.equal(a, b) for a, b in zip(found["DEFAULT"][1], found["AVX2"][1], strict=True))


def test_two_rows_hold_a_vector_to_five_digits():
    vectors = torch.randn(100, 64) * torch.logspace(-6, 6, 100)[:, None]
    rows, units = two_rows(vectors)
    assert rows.dtype == torch.int8
    found = units[:, None] * (254 * rows[:100].float() + rows[100:].float())
    assert ((found - vectors).abs() <= 1.6e-5 * vectors.abs().amax(1, keepdim=True)).all()


def test_int8_finds_nearly_all_that_float32_finds():
    vectors = torch.nn.functional.normalize(torch.randn(20_000, 64))
    users, none = torch.nn.functional.normalize(torch.randn(20, 64)), torch.zeros(20, dtype=torch.int64)
    found = index_of(vectors, range(20_000), [0] * 20_000)(users, none, none[:0], {}, 100)[1].view(20, 100)
    exact = torch.topk(users @ vectors.T, 100).indices
    assert sum(torch.isin(a, b).sum().item() for a, b in zip(found, exact, strict=True)) >= 0.97 * 2000


def test_a_user_without_a_history_is_the_mean_of_users():
    vectors, mean = torch.randn(50, 4), torch.randn(4)
    index = index_of(vectors, range(50), [0] * 50, mean)
    none = torch.zeros(2, dtype=torch.int64)
    _, items, products = index(torch.stack([torch.zeros(4), mean]), none, none[:0], {}, 5)
    assert torch.equal(items[:5], items[5:])
    assert torch.equal(products[:5], products[5:])


@pytest.mark.parametrize(
    ("asked", "k", "sentence"),
    [
        ({}, 0, r"k \(0\) must be at least 1"),
        ({"exclude_item_id": torch.zeros(0, dtype=torch.int64)}, 1, "exclude_lengths is missing; give exclude_item_id"),
        ({**NOBODY, "exclude_item_id": torch.zeros(0)}, 1, "exclude_item_id must be int64 with one dimension"),
        (
            {**NOBODY, "exclude_lengths": torch.zeros(2, dtype=torch.int64)},
            1,
            "exclude_lengths has 2 values for 1 requ",
        ),
        (
            {**NOBODY, "exclude_lengths": torch.ones(1, dtype=torch.int64)},
            1,
            "exclude_lengths does not add up to the 0",
        ),
        ({"filter_shop": torch.zeros(0, dtype=torch.int64)}, 1, "filter_shop is nothing .*; it filters by: category"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(asked, k, sentence):
    index = index_of(torch.randn(5, 4), range(5), [0] * 5)
    none = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=sentence):
        index(torch.randn(1, 4), none, none[:0], asked, k)
    with pytest.raises(torch.jit.Error, match=sentence):
        saved(index)(torch.randn(1, 4), none, none[:0], asked, k)


def test_no_requests_find_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    for index in (index_of(torch.randn(5, 4), range(5), [0] * 5), ExactIndex([], torch.ones(4), 0)):
        assert [part.size(0) for part in index(torch.zeros(0, 4), none, none, {}, 3)] == [0, 0, 0]
