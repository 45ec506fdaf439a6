"""Quantised tables: error and size as the arithmetic says, unpacked as fbgemm unpacks, the same lookup."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinfm.embeddings.lookup import MultiHashEmbedding
from pinfm.embeddings.quantize import QuantizedEmbedding, from_half_bytes, quantize_rows, unpack_rows, with_precision
from pinfm.embeddings.specs import IdTable

TABLE = IdTable(name="item", num_hashes=3, rows=50, dim=8)


@pytest.mark.parametrize(("bits", "error", "of_fp16"), [(8, 0.0046, 0.5625), (4, 0.078, 0.3125)])
def test_gaussian_rows_of_32(bits, error, of_fp16):
    rows = torch.randn(20_000, 32)
    packed = quantize_rows(rows, bits)
    assert packed.nbytes == of_fp16 * rows.half().nbytes
    relative = (unpack_rows(packed, bits) - rows).norm() / rows.norm()
    assert relative.item() == pytest.approx(error, rel=0.02)


@given(st.integers(1, 9), st.sampled_from([4, 8, 32]), st.sampled_from([8, 4]), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_rows_are_unpacked_as_fbgemm_does_it(num_rows, dim, bits, seed):
    torch.manual_seed(seed)
    packed = quantize_rows(torch.randn(num_rows, dim) * 10 ** torch.randint(-3, 3, (num_rows, 1)).float(), bits)
    expected = torch.ops.fbgemm.FusedNBitRowwiseQuantizedSBHalfToFloat(packed, bits)
    torch.testing.assert_close(unpack_rows(packed, bits), expected, rtol=1e-6, atol=1e-7)


def test_every_finite_half_is_read_from_its_bytes():
    halves = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.float16)
    halves = halves[halves.isfinite()][:, None].contiguous()
    assert torch.equal(from_half_bytes(halves.view(torch.uint8)), halves.float())


@pytest.mark.parametrize("bits", [8, 4])
def test_constant_rows_stay_what_they_are(bits):
    rows = torch.tensor([[0.0] * 8, [0.25] * 8, [-3.0] * 8])
    assert torch.equal(unpack_rows(quantize_rows(rows, bits), bits), rows)


@pytest.mark.parametrize(("bits", "largest"), [(8, 1 / 255), (4, 1 / 15)])
@torch.no_grad()
def test_a_lookup_is_off_by_half_a_step_at_most(bits, largest):
    lookup = MultiHashEmbedding(TABLE)
    ids = torch.empty(200, dtype=torch.int64).random_(-(2**63), None)
    exact, found = lookup(ids), QuantizedEmbedding(lookup, bits)(ids)
    span = 2 * TABLE.num_hashes**-0.5 * TABLE.dim**-0.5
    assert 0 < (found - exact).abs().max() <= 0.51 * largest * span + 1e-3 * span
    assert found.shape == (200, 24)


@torch.no_grad()
def test_the_scripted_lookup_is_the_same():
    ids = torch.tensor([5, -7, 5])
    for bits in (8, 4):
        quantized = QuantizedEmbedding(MultiHashEmbedding(TABLE), bits)
        assert torch.equal(torch.jit.script(quantized)(ids), quantized(ids))
        assert quantized(ids[:0]).shape == (0, 24)


@torch.no_grad()
def test_fp16_rounds_and_fp32_does_not():
    lookup, ids = MultiHashEmbedding(TABLE), torch.arange(20)
    exact = lookup(ids)
    assert with_precision(lookup, "fp32") is lookup
    assert torch.equal(with_precision(lookup, "fp16")(ids), exact.half())
