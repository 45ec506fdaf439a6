"""The best of very long rows, exactly and always in the same order. Written for TorchScript.

U  rows     V  their scores, a multiple of CHUNK     k  how many are wanted
"""

import torch
from torch import Tensor

CHUNK = 64


def top_k(scores_UV: Tensor, k: int, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The k best scores of each row; among equal ones those that stand first.

    The k best stand in the k chunks with the best maxima, so only these are sorted. Where maxima are equal the first
    chunks are taken, and each of them has a score as good as any that is left behind.

    Args:
        scores_UV: float32 without NaN; -inf where there is nothing.
        k: at least 1.
        chunk: scores that have one maximum.

    Returns:
        Scores, best first, and their columns, both (U, k), or fewer columns of shorter rows.
    """
    maxima_UC = scores_UV.view(scores_UV.size(0), scores_UV.size(1) // chunk, chunk).amax(2)
    num_chunks = maxima_UC.size(1)
    places_C = torch.arange(num_chunks, device=scores_UV.device)
    chosen_UK = torch.topk(order_keys(maxima_UC, places_C), min(k, num_chunks), dim=1, sorted=False).indices
    columns_UB = (chosen_UK[:, :, None] * chunk + torch.arange(chunk, device=scores_UV.device)).flatten(1)
    scores_UB = scores_UV.gather(1, columns_UB)
    best_UK = torch.topk(order_keys(scores_UB, columns_UB), min(k, columns_UB.size(1)), dim=1).indices
    return scores_UB.gather(1, best_UK), columns_UB.gather(1, best_UK)


def order_keys(scores: Tensor, places: Tensor) -> Tensor:
    """int64 that are no two alike and in the order of the scores; of equal scores, the first place's is the largest.

    `topk` leaves the order of equal values open.

    Args:
        scores: float32.
        places: int64 below 2**30, of the same shape or one that broadcasts.
    """
    # -inf has no mantissa: the smallest float stands for it. A float is mantissa * 2**exponent, the mantissa of 24
    # bits: both are read off exactly. (TorchScript can't view a float's bits as an integer.)
    mantissa, exponent = torch.frexp(scores.clamp(-3.4028234663852886e38, 3.4028234663852886e38))
    steps = (mantissa * (1 << 24)).long()
    # Exponents are -148 to 128. The highest bit of a mantissa is always set, but for 0.
    size = (exponent.long() + 256) * (1 << 23) + steps.abs() - (1 << 23)
    ascending = torch.sign(steps) * size
    return ascending * (1 << 30) + ((1 << 30) - 1 - places)
