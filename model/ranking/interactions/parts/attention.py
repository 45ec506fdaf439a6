"""Self-attention among the few vectors of a candidate.

N  candidates     F  vectors of each, its request's among them     D  their width     P  numbers projected of each
H  heads     d  width of a head, D / H
"""

import torch.nn.functional as F
from torch import Tensor

from pinfm.embeddings.errors import UserError


def attend(projected_NFP: Tensor, dim: int, heads: int, scale: float) -> Tensor:
    """softmax(scale Q K^T) V within each candidate and head.

    The scores between vectors of one request are computed again for each of its candidates: to merge them with the
    candidate's would take the fused kernel apart.

    Args:
        projected_NFP: each vector's query, key and value in the first 3 D columns, head by head; more may follow.
        dim: D.
        heads: H.
        scale: of the inner products.

    Returns:
        (N, F, D), the heads side by side.
    """
    rows, count = projected_NFP.size(0), projected_NFP.size(1)
    parts_N3HFd = projected_NFP[:, :, : 3 * dim].view(rows, count, 3, heads, dim // heads).permute(0, 2, 3, 1, 4)
    query, key, value = parts_N3HFd.unbind(1)
    attended_NHFd = F.scaled_dot_product_attention(query, key, value, scale=scale)
    return attended_NHFd.transpose(1, 2).flatten(2)


def require_heads(heads: int, width: int, name: str = "the width of a feature vector") -> None:
    """For forms whose heads share a width.

    Args:
        heads: how many.
        width: what they share.
        name: what a sentence calls it.

    Raises:
        UserError: the width can't be shared evenly.
    """
    if width % heads:
        fitting = [count for count in range(1, width + 1) if width % count == 0]
        near = [max(count for count in fitting if count < heads), *[count for count in fitting if count > heads][:1]]
        raise UserError(
            f"ranker.interaction.heads ({heads}) must divide {name} ({width}); try {' or '.join(map(str, near))}."
        )
