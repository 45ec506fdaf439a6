"""The forms of `layers/fusion.py` on padded blocks: what is kept of a history is one tensor, requests in one dimension.

U  requests     L  events of each     C  candidates of each     D  width     K  parts that are kept
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.dcat import DCAT, Context
from pinfm.model.layers.fusion import EarlyFusionWithToken, Fusion, LateFusion
from pinfm.model.padded.dcat import cross_padded, encode_padded, outputs_padded


class PaddedEarlyFusion(nn.Module):
    """Candidates cross with the keys and values of every layer.

    Args:
        dcat: the transformer.
    """

    def __init__(self, dcat: DCAT) -> None:
        super().__init__()
        self.dcat, self.num_heads = dcat, dcat.blocks[0].num_heads

    def encode(self, x_ULD: Tensor, lengths_U: Tensor) -> Tensor:
        """Event tokens, and how many of each history are real -> (K, U, L, D): keys and values, layer by layer."""
        context = encode_padded(self.dcat, x_ULD, lengths_U)
        parts = [part for pair in zip(context.keys, context.values, strict=True) for part in pair]
        return torch.stack([part.reshape(x_ULD.size()) for part in parts])

    def cross(self, kept_KULD: Tensor, lengths_U: Tensor, x_UCD: Tensor) -> Tensor:
        """What `encode` kept, the same lengths and candidate tokens -> (U, C, D)."""
        # A block stays one: a tracer can't tell that rows laid flat and taken apart again are the block that they were.
        parts = [part.view(*part.shape[:2], self.num_heads, -1) for part in kept_KULD.unbind()]
        context = Context(lengths_U, kept_KULD[0], parts[::2], parts[1::2])
        return cross_padded(self.dcat, context, kept_KULD.size(2), x_UCD)


class PaddedEarlyFusionWithToken(PaddedEarlyFusion):
    """Early fusion with one learnable token after the newest event of each history.

    Args:
        fusion: holds the token.
    """

    def __init__(self, fusion: EarlyFusionWithToken) -> None:
        super().__init__(fusion.dcat)
        self.token_D = fusion.token_D

    def encode(self, x_ULD: Tensor, lengths_U: Tensor) -> Tensor:
        """As without a token; kept of a history are L + 1 rows."""
        padded_UMD = F.pad(x_ULD, (0, 0, 0, 1))
        is_token_UM = torch.arange(padded_UMD.size(1), device=x_ULD.device) == lengths_U[:, None]
        return super().encode(torch.where(is_token_UM[:, :, None], self.token_D, padded_UMD), lengths_U + 1)

    def cross(self, kept_KULD: Tensor, lengths_U: Tensor, x_UCD: Tensor) -> Tensor:
        """As without a token, which every candidate sees."""
        return super().cross(kept_KULD, lengths_U + 1, x_UCD)


class PaddedLateFusion(nn.Module):
    """A candidate is given a summary of its request's history.

    Args:
        fusion: holds the transformer and the summary.
    """

    def __init__(self, fusion: LateFusion) -> None:
        super().__init__()
        self.dcat, self.summary = fusion.dcat, fusion.summary

    def encode(self, x_ULD: Tensor, lengths_U: Tensor) -> Tensor:
        """Event tokens, and how many of each history are real -> (1, U, 1, D): the summary."""
        context = encode_padded(self.dcat, x_ULD, lengths_U)
        outputs_ULD = outputs_padded(self.dcat, context, x_ULD.size(1))
        summary_UD = self.summary.of_block(outputs_ULD, lengths_U)
        return summary_UD[None, :, None]

    def cross(self, kept_KULD: Tensor, lengths_U: Tensor, x_UCD: Tensor) -> Tensor:
        """What `encode` kept and candidate tokens, which are not read -> (U, C, D)."""
        return kept_KULD[0].expand_as(x_UCD)


def padded_fusion(fusion: Fusion) -> PaddedEarlyFusion | PaddedLateFusion:
    """The form on padded blocks, over the same modules."""
    if isinstance(fusion, LateFusion):
        return PaddedLateFusion(fusion)
    if isinstance(fusion, EarlyFusionWithToken):
        return PaddedEarlyFusionWithToken(fusion)
    return PaddedEarlyFusion(fusion.dcat)
