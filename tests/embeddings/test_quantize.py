"""Rows in fewer bits: error and size as the arithmetic says."""

import pytest
import torch

from pinfm.embeddings.quantize import in_precision, quantize_rows


@pytest.mark.parametrize(("bits", "error", "of_fp16"), [(8, 0.0046, 0.5625), (4, 0.078, 0.3125)])
def test_gaussian_rows_of_32(bits, error, of_fp16):
    rows = torch.randn(20_000, 32)
    packed = quantize_rows(rows, bits)
    assert packed.nbytes == of_fp16 * rows.half().nbytes
    unpacked = torch.ops.fbgemm.FusedNBitRowwiseQuantizedSBHalfToFloat(packed, bits)
    assert ((unpacked - rows).norm() / rows.norm()).item() == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_are_stored_in_the_precision_asked_for(dtype):
    rows = torch.randn(3, 8, dtype=dtype)
    assert torch.equal(in_precision(rows, "fp32"), rows.float())
    assert torch.equal(in_precision(rows, "fp16"), rows.half())
    assert torch.equal(in_precision(rows, "int8"), quantize_rows(rows, 8))
    assert torch.equal(in_precision(rows, "int4"), quantize_rows(rows, 4))
