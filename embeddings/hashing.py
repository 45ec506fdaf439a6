"""64-bit id hashing in plain torch integer ops: the same rows in eager, in TorchScript and in a C++ host.

Each sub-table has a hash of its own. The mixer is the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014),
applied twice with two keys per sub-table, so that no pair of sub-tables is a shifted copy of another.

    ids_N  int64, any value        seeds_K2  int64, two keys a sub-table        rows_KN  int64 in [0, num_rows)
"""

import torch
from torch import Tensor

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MASK_64 = (1 << 64) - 1


def mix64(x: Tensor) -> Tensor:
    """The splitmix64 finaliser: a bijection of int64 in which each input bit flips each output bit half of the time.

    `>>` is arithmetic on int64, so the bits that it copies down from the sign are masked away. The multipliers are
    0xBF58476D1CE4E5B9 and 0x94D049BB133111EB, written signed because torch has no unsigned multiplication.
    """
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def hash_seeds(num_hashes: int, seed: int) -> Tensor:
    """The two keys of each sub-table.

    Args:
        num_hashes: K, the number of sub-tables.
        seed: chooses the family; tables trained under one seed can't be read under another.

    Returns:
        (K, 2) int64.
    """
    keys = []
    for k in range(2 * num_hashes):
        state = torch.tensor(_to_signed((seed * 2 * num_hashes + k + 1) * _GOLDEN_GAMMA & _MASK_64))
        keys.append(mix64(state))
    return torch.stack(keys).view(num_hashes, 2)


def hash_rows(ids_N: Tensor, seeds_K2: Tensor, num_rows: int) -> Tensor:
    """The row of every id in every sub-table.

    Args:
        ids_N: int64 ids; every value is legal.
        seeds_K2: keys from `hash_seeds`, on the ids' device.
        num_rows: rows of each sub-table.

    Returns:
        (K, N) int64 in [0, num_rows). The modulo's bias is below num_rows / 2**63.

    Example:
        >>> rows = hash_rows(torch.tensor([7, -1]), hash_seeds(num_hashes=8, seed=0), num_rows=1000)
        >>> rows.shape
        torch.Size([8, 2])
    """
    mixed_KN = mix64(mix64(ids_N[None, :] ^ seeds_K2[:, :1]) + seeds_K2[:, 1:])
    return (mixed_KN & 0x7FFFFFFFFFFFFFFF) % num_rows


def _to_signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
