"""Tables for serving: the very vectors of the trained tables, or as near as their bits allow."""

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.embeddings.one_device.lookup import MultiHashEmbedding
from pinfm.embeddings.one_device.served import ServedTable, every_half, rows_of
from pinfm.embeddings.quantize import in_precision, quantize_rows
from pinfm.embeddings.specs import IdTable

TABLE = IdTable(name="item", num_hashes=3, rows=50, dim=8)
PRECISIONS = ("fp32", "fp16", "int8", "int4")


def served(lookup, precision):
    """The trained table's rows, placed in one for serving."""
    table = ServedTable(TABLE, precision, "item_tables")
    for name, weight in zip(table.names, lookup.embeddings.parameters(), strict=True):
        table.place(name, in_precision(weight.detach(), precision))
    return table


@pytest.fixture
def any_ids():
    return torch.empty(200, dtype=torch.int64).random_(-(2**63), None)


@given(st.integers(1, 9), st.sampled_from([4, 8, 32]), st.sampled_from([8, 4]), st.integers(0, 2**32))
@settings(max_examples=40)
def test_rows_are_read_as_fbgemm_reads_them(num_rows, dim, bits, seed):
    torch.manual_seed(seed)
    packed = quantize_rows(torch.randn(num_rows, dim) * 10 ** torch.randint(-3, 3, (num_rows, 1)).float(), bits)
    rows, wanted = rows_of(dim, f"int{bits}"), torch.randint(num_rows, (20,))
    rows.place(packed)
    expected = torch.ops.fbgemm.FusedNBitRowwiseQuantizedSBHalfToFloat(packed, bits)[wanted]
    torch.testing.assert_close(rows(wanted), expected, rtol=1e-6, atol=1e-7)


def test_every_half_stands_at_its_bits():
    for number in (0.0, 1.0, -2.5, 65504.0, 6e-8):
        half = torch.tensor(number, dtype=torch.float16)
        assert every_half()[half.view(torch.uint16).int()] == half


@pytest.mark.parametrize("bits", [8, 4])
def test_constant_rows_stay_what_they_are(bits):
    constant = torch.tensor([[0.0] * 8, [0.25] * 8, [-3.0] * 8])
    rows = rows_of(8, f"int{bits}")
    rows.place(quantize_rows(constant, bits))
    assert torch.equal(rows(torch.arange(3)), constant)


@pytest.mark.parametrize("bits", [8, 4])
def test_constant_rows_whose_scale_is_negative_are_read(bits):
    # The bias is the minimum in fp16. Where that lies above the row, fbgemm stores a scale below zero.
    values = torch.tensor([0.3, -0.1, 1000.3, 0.1, -0.3])
    constant = values[:, None].expand(5, 8)
    packed = quantize_rows(constant, bits)
    scales = packed[:, bits:].contiguous().view(torch.float16)[:, 0]
    assert (scales < 0).tolist() == [True, True, True, False, False]
    rows = rows_of(8, f"int{bits}")
    rows.place(packed)
    torch.testing.assert_close(rows(torch.arange(5)), constant, rtol=2e-5, atol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_a_vector_does_not_depend_on_what_else_is_asked(any_ids, precision):
    table = served(MultiHashEmbedding(TABLE), precision)
    together = table(any_ids)
    for n in range(0, len(any_ids), 17):
        assert torch.equal(table(any_ids[n : n + 1])[0], together[n])


@torch.no_grad()
def test_rows_in_fp32_are_the_trained_ones(any_ids):
    lookup = MultiHashEmbedding(TABLE)
    assert torch.equal(served(lookup, "fp32")(any_ids), lookup(any_ids))
    assert torch.equal(served(lookup, "fp16")(any_ids), lookup(any_ids).half())


@pytest.mark.parametrize(("bits", "largest"), [(8, 1 / 255), (4, 1 / 15)])
@torch.no_grad()
def test_a_lookup_is_off_by_half_a_step_at_most(any_ids, bits, largest):
    lookup = MultiHashEmbedding(TABLE)
    exact, found = lookup(any_ids), served(lookup, f"int{bits}")(any_ids)
    span = 2 * TABLE.num_hashes**-0.5 * TABLE.dim**-0.5
    assert 0 < (found - exact).abs().max() <= 0.51 * largest * span + 1e-3 * span
    assert found.shape == (200, 24)


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_the_scripted_lookup_is_the_same(any_ids, precision):
    table = served(MultiHashEmbedding(TABLE), precision)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(table), file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for ids in (any_ids, any_ids[:0], any_ids[:1]):
        assert torch.equal(loaded(ids), table(ids))


def test_a_name_of_another_table_places_nothing():
    table = ServedTable(TABLE, "fp32", "item_tables")
    table.place("feature_tables.item_0", torch.zeros(50, 8))
    assert all(rows.rows_RD.size(0) == 0 for rows in table.sub_tables)
