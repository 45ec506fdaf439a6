"""Rows of id tables in fewer bits: row-wise min-max int8 and int4 through fbgemm, and fp16.

A row of D values takes D bytes (int8) or D / 2 (int4), and 4 more for its own scale and bias in fp16:

    | value 1, value 0 | value 3, value 2 | ... | scale (fp16) | bias (fp16) |       int4: two values a byte

At 32 columns that is 36 and 20 bytes, where fp16 takes 64.
"""

import torch
from torch import Tensor

from pinfm.embeddings.sharded.versions import require_tested_versions
from pinfm.embeddings.specs import ServedPrecision

require_tested_versions()

import fbgemm_gpu  # noqa: E402, F401  # registers the operators


def quantize_rows(rows_RD: Tensor, bits: int) -> Tensor:
    """Packs rows, each with a scale and a bias of its own.

    Args:
        rows_RD: float32 or float16; D is a multiple of 4.
        bits: 8 or 4.

    Returns:
        (R, bytes of a row) uint8.
    """
    packed: Tensor = torch.ops.fbgemm.FloatToFusedNBitRowwiseQuantizedSBHalf(rows_RD.float().contiguous(), bits)
    return packed


def in_precision(rows_RD: Tensor, precision: ServedPrecision) -> Tensor:
    """Rows as `ServedTable` takes them.

    Args:
        rows_RD: float32 or float16; D is a multiple of 4.
        precision: wanted.

    Returns:
        (R, D) float32 or float16, or packed rows (R, bytes of a row) uint8.
    """
    if precision == "int4":
        return quantize_rows(rows_RD, 4)
    if precision == "int8":
        return quantize_rows(rows_RD, 8)
    return rows_RD.half() if precision == "fp16" else rows_RD.float()
