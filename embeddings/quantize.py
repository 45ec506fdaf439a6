"""Id tables for serving in fewer bits: row-wise min-max int8 and int4 through fbgemm, and fp16.

A row of D values takes D bytes (int8) or D / 2 (int4), and 4 more for its own scale and bias in fp16:

    | value 1, value 0 | value 3, value 2 | ... | scale (fp16) | bias (fp16) |       int4: two values a byte

At 32 columns that is 36 and 20 bytes, where fp16 takes 64. fbgemm packs; a lookup unpacks the rows that it needs in
plain torch operations, so that an exported file needs no fbgemm to load.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from pinfm.embeddings.hashing import hash_rows
from pinfm.embeddings.lookup import MultiHashEmbedding
from pinfm.embeddings.versions import require_tested_versions

require_tested_versions()

import fbgemm_gpu  # noqa: E402, F401  # registers the operators

TablePrecision = Literal["fp32", "fp16", "int8", "int4"]
BITS = {"int8": 8, "int4": 4}
# Rows packed at a time, which bounds the memory beside the table.
CHUNK_ROWS = 1 << 20


def quantize_rows(rows_RD: Tensor, bits: int) -> Tensor:
    """Packs rows, each with a scale and a bias of its own.

    Args:
        rows_RD: float32 or float16; D is a multiple of 4.
        bits: 8 or 4.

    Returns:
        (R, bytes of a row) uint8.
    """
    parts = [
        torch.ops.fbgemm.FloatToFusedNBitRowwiseQuantizedSBHalf(part.float().contiguous(), bits)
        for part in torch.split(rows_RD, CHUNK_ROWS)
    ]
    return torch.cat(parts)


def unpack_rows(packed_RB: Tensor, bits: int) -> Tensor:
    """The values of packed rows.

    Args:
        packed_RB: (R, bytes of a row) uint8 from `quantize_rows`.
        bits: 8 or 4.

    Returns:
        (R, D) float32.
    """
    num_bytes = packed_RB.size(1) - 4
    values_RB = packed_RB[:, :num_bytes]
    if bits == 4:
        pairs_RB2 = torch.stack([torch.bitwise_and(values_RB, 15), torch.bitwise_right_shift(values_RB, 4)], dim=2)
        values_RB = pairs_RB2.flatten(1)
    scale_and_bias_R2 = from_half_bytes(packed_RB[:, num_bytes:])
    return torch.addcmul(scale_and_bias_R2[:, 1:], values_RB.float(), scale_and_bias_R2[:, :1])


def from_half_bytes(bytes_RB: Tensor) -> Tensor:
    """Finite fp16 numbers from their bytes, low byte first, by arithmetic: TorchScript can't view bytes as fp16.

    Args:
        bytes_RB: (R, 2 * numbers) uint8.

    Returns:
        (R, numbers) float32.
    """
    bits = bytes_RB[:, ::2].int() + 256 * bytes_RB[:, 1::2].int()
    exponent, fraction = torch.bitwise_and(bits, 0x7C00) // 1024, torch.bitwise_and(bits, 0x3FF)
    # Exponent 0 has no leading one, and the scale of exponent 1.
    digits = fraction + 1024 * (exponent > 0).int()
    size = torch.ldexp(digits.float(), exponent.clamp(min=1) - 25)
    return torch.where(bits >= 0x8000, -size, size)


class QuantizedEmbedding(nn.Module):
    """`MultiHashEmbedding` with packed rows.

    Args:
        lookup: the tables to pack.
        bits: 8 or 4.

    Example:
        >>> from pinfm.embeddings.specs import IdTable
        >>> lookup = MultiHashEmbedding(IdTable(name="item", num_hashes=8, rows=1000, dim=4))
        >>> QuantizedEmbedding(lookup, bits=4)(torch.tensor([3, -5])).shape
        torch.Size([2, 32])
    """

    seeds_K2: Tensor
    packed_KRB: Tensor

    def __init__(self, lookup: MultiHashEmbedding, bits: int) -> None:
        super().__init__()
        self.rows, self.dim, self.bits = lookup.rows, lookup.dim, bits
        self.register_buffer("seeds_K2", lookup.seeds_K2, persistent=False)
        packed = [quantize_rows(weight.detach(), bits) for weight in lookup.embeddings.parameters()]
        self.register_buffer("packed_KRB", torch.stack(packed))

    def forward(self, ids_N: Tensor) -> Tensor:
        """int64 ids (N,) -> (N, num_hashes * dim) float32."""
        rows_KN = hash_rows(ids_N, self.seeds_K2, self.rows)
        num_hashes = rows_KN.size(0)
        first_K1 = torch.arange(num_hashes, device=ids_N.device)[:, None] * self.rows
        packed = self.packed_KRB.flatten(0, 1).index_select(0, (rows_KN + first_K1).T.flatten())
        return unpack_rows(packed, self.bits).view(ids_N.size(0), self.dim)


def with_precision(lookup: MultiHashEmbedding, precision: TablePrecision) -> MultiHashEmbedding | QuantizedEmbedding:
    """The lookup with its tables in a precision for serving.

    Args:
        lookup: float32 tables, which fp16 changes in place.
        precision: `fp32` leaves them as they are.
    """
    if precision == "fp16":
        return lookup.half()
    return lookup if precision == "fp32" else QuantizedEmbedding(lookup, BITS[precision])
