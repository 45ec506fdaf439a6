"""Hashing against splitmix64 in Python integers, and its statistics over sequential ids."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinfm.embeddings.hashing import hash_rows, hash_seeds, mix64

MASK = (1 << 64) - 1
INT64 = st.integers(-(2**63), 2**63 - 1)
EXTREMES = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 2**32, -(2**32), 2**62])


def finaliser(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def rows_in_python(ids, num_hashes, seed, num_rows):
    """The definition, one id and one sub-table at a time, in unsigned arithmetic."""
    keys = [finaliser(((seed * 2 * num_hashes + k + 1) * 0x9E3779B97F4A7C15) & MASK) for k in range(2 * num_hashes)]
    return [
        [
            (finaliser((finaliser((i & MASK) ^ keys[2 * k]) + keys[2 * k + 1]) & MASK) & (MASK >> 1)) % num_rows
            for i in ids
        ]
        for k in range(num_hashes)
    ]


@pytest.fixture(scope="module")
def rows_of_sequential_ids():
    """Eight sub-tables of 1000 rows, 100,000 ids in a row."""
    return hash_rows(torch.arange(100_000), hash_seeds(8, seed=0), 1000)


def test_mixer_gives_the_published_stream():
    # The first three outputs of splitmix64 seeded with 1234567.
    state = [(1234567 + k * 0x9E3779B97F4A7C15) & MASK for k in (1, 2, 3)]
    signed = torch.tensor([x - (1 << 64) if x >> 63 else x for x in state])
    assert [x & MASK for x in mix64(signed).tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.lists(INT64, min_size=1, max_size=20), st.integers(1, 8), st.integers(0, 5), st.integers(1, 2**40))
def test_rows_equal_the_definition_in_python_integers(ids, num_hashes, seed, num_rows):
    rows = hash_rows(torch.tensor(ids), hash_seeds(num_hashes, seed), num_rows)
    assert rows.tolist() == rows_in_python(ids, num_hashes, seed, num_rows)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++) to build a host with")
@pytest.mark.parametrize(("num_hashes", "seed", "num_rows"), [(8, 0, 80_000_000), (3, 7, 97), (1, 2, 2**40)])
def test_rows_are_the_same_in_cpp(tmp_path, num_hashes, seed, num_rows):
    ids = torch.cat([EXTREMES, torch.arange(-500, 500), torch.randint(-(2**63), 2**63 - 1, (1000,))])
    source = Path(__file__).with_name("hash_rows.cpp")
    subprocess.run(["g++", "-O1", "-std=c++17", source, "-o", tmp_path / "hash_rows"], check=True)
    printed = subprocess.run(
        [tmp_path / "hash_rows", *map(str, (num_hashes, seed, num_rows))],
        input="\n".join(map(str, ids.tolist())),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = torch.tensor([[int(row) for row in line.split()] for line in printed.splitlines()])
    assert torch.equal(rows.T, hash_rows(ids, hash_seeds(num_hashes, seed), num_rows))


def test_every_int64_is_legal():
    rows = hash_rows(EXTREMES, hash_seeds(8, seed=3), 97)
    assert rows.dtype == torch.int64
    assert rows.shape == (8, len(EXTREMES))
    assert rows.min() >= 0
    assert rows.max() < 97
    assert rows.tolist() == rows_in_python(EXTREMES.tolist(), 8, 3, 97)


def test_rows_are_the_same_on_every_device(device):
    ids = torch.cat([EXTREMES, torch.empty(1000, dtype=torch.int64).random_(-(2**63), None)])
    for num_rows in (97, 80_000_000, 2**40):
        found = hash_rows(ids.to(device), hash_seeds(8, seed=3).to(device), num_rows)
        assert found.cpu().tolist() == rows_in_python(ids.tolist(), 8, 3, num_rows)


def test_no_ids_give_no_rows():
    assert hash_rows(torch.zeros(0, dtype=torch.int64), hash_seeds(4, seed=0), 10).shape == (4, 0)


def test_torchscript_equals_eager():
    ids = torch.cat([EXTREMES, torch.empty(1000, dtype=torch.int64).random_(-(2**63), None)])
    scripted = torch.jit.script(hash_rows)
    for num_rows in (1, 1000, 80_000_000):
        assert torch.equal(
            scripted(ids, hash_seeds(8, seed=1), num_rows), hash_rows(ids, hash_seeds(8, seed=1), num_rows)
        )


def test_the_mixer_is_injective_where_inputs_differ_by_one_bit():
    bits = torch.tensor([1 << b for b in range(63)] + [-(2**63)])
    inputs = torch.cat([torch.zeros(1, dtype=torch.int64), bits])
    outputs = mix64(inputs)
    assert outputs.unique().numel() == 65
    flipped = [bin((a ^ outputs[0].item()) & MASK).count("1") for a in outputs[1:].tolist()]
    assert 28 < sum(flipped) / 64 < 36


def test_sub_tables_and_seeds_give_different_rows(rows_of_sequential_ids):
    rows = rows_of_sequential_ids
    other_seed = hash_rows(torch.arange(100_000), hash_seeds(8, seed=1), 1000)
    for k in range(8):
        for other in [*rows[k + 1 :], *other_seed]:
            # Two independent hashes agree on one id in 1000.
            assert (rows[k] == other).float().mean() < 2e-3


def test_sequential_ids_fill_the_rows_evenly(rows_of_sequential_ids):
    for rows in rows_of_sequential_ids:
        counts = torch.bincount(rows, minlength=1000).double()
        chi_square = ((counts - 100) ** 2 / 100).sum().item()
        # 999 degrees of freedom: mean 999, standard deviation 44.7.
        assert abs(chi_square - 999) < 5 * 44.7


def test_sub_tables_are_independent_in_pairs(rows_of_sequential_ids):
    coarse = rows_of_sequential_ids % 32
    expected = 100_000 / 1024
    for k in range(8):
        for m in range(k):
            counts = torch.bincount(coarse[k] * 32 + coarse[m], minlength=1024).double()
            # Rows 0..7 of 1000 have one more multiple of 32 each, so cells are not equal: take the margins as they are.
            table = counts.view(32, 32)
            margins = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / 100_000
            chi_square = ((table - margins) ** 2 / margins).sum().item()
            # 31 * 31 degrees of freedom: mean 961, standard deviation 43.8.
            assert abs(chi_square - 961) < 5 * 43.8
            assert margins.min() > expected / 2


def test_ids_that_share_a_row_in_one_sub_table_part_in_the_others(rows_of_sequential_ids):
    first = rows_of_sequential_ids[:, rows_of_sequential_ids[0] == rows_of_sequential_ids[0, 0]]
    assert first.size(1) > 50
    for rows in first[1:]:
        assert rows.unique().numel() > 0.8 * rows.numel()
