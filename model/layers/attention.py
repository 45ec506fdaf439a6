"""DCAT's crossing attention: every candidate looks at its request's history and at itself, and at no other candidate.

    U  requests     H  heads     C  most candidates of a request     L  longest history     d  width of a head

All candidates of a request meet its keys in one product, so K and V of a history are read once and never copied.
PyTorch's fused attention does it in blocks and never holds the (U, H, C, L) scores; it also returns the log of the
softmax's denominator, with which the candidate's own key, one more column of the softmax, is merged in afterwards:

    lse' = log(e^lse + e^s)      out' = out + e^(s - lse') (v - out)      s = <q, k> / sqrt(d), of the candidate itself

The gradient needs no second kernel: the fused backward makes probabilities of scores and a denominator, and reads the
output for the sum of a row, so that given out' and lse' in place of out and lse it returns the history's part exactly.
"""

import math
from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

# CUDA's kernel keeps its denominators in rows of a multiple of this.
LSE_ALIGNMENT = 32


def attention_mask(visible_UC: Tensor, keys_UHLd: Tensor) -> Tensor:
    """What hides padding and events after a candidate's request.

    Args:
        visible_UC: int64, how many of its history's oldest events each candidate sees; (U, 1) where all candidates of
            a request see the same.
        keys_UHLd: the histories' keys, for their number, type and device.

    Returns:
        (U, 1, C, L), to be added to the scores: 0 where a candidate may look, -1e9 where not.
    """
    length = keys_UHLd.size(2)
    # CUDA's kernel wants rows that start at multiples of 16 bytes.
    hidden_UCL = torch.arange(-(-length // 8) * 8, device=visible_UC.device) >= visible_UC[:, :, None]
    mask_UCL = torch.zeros(hidden_UCL.shape, dtype=keys_UHLd.dtype, device=keys_UHLd.device)
    # Finite, so that an empty history has a denominator; beside it the candidate itself has all the weight.
    return mask_UCL.masked_fill_(hidden_UCL, -1e9)[:, None, :, :length]


def attend_history_and_self(
    query_UHCd: Tensor,
    key_UHCd: Tensor,
    value_UHCd: Tensor,
    keys_UHLd: Tensor,
    values_UHLd: Tensor,
    mask_U1CL: Optional[Tensor],  # noqa: UP045
) -> Tensor:
    """Softmax attention of every candidate over [its request's history, itself].

    Args:
        query_UHCd: the candidates' queries.
        key_UHCd: their own keys.
        value_UHCd: their own values.
        keys_UHLd: the histories' keys.
        values_UHLd: the histories' values.
        mask_U1CL: from `attention_mask`, or None to hide nothing.

    Returns:
        (U, H, C, d).
    """
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return _attend(query_UHCd, key_UHCd, value_UHCd, keys_UHLd, values_UHLd, mask_U1CL)[0]
    result: Tensor = _Attend.apply(query_UHCd, key_UHCd, value_UHCd, keys_UHLd, values_UHLd, mask_U1CL)  # type: ignore[no-untyped-call]
    return result


def _attend(
    query_UHCd: Tensor,
    key_UHCd: Tensor,
    value_UHCd: Tensor,
    keys_UHLd: Tensor,
    values_UHLd: Tensor,
    mask_U1CL: Optional[Tensor],  # noqa: UP045
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, lse' (U, H, C) and the candidate's own share of the softmax (U, H, C, 1)."""
    history_UHCd, lse_UHC = _attend_history(query_UHCd, keys_UHLd, values_UHLd, mask_U1CL)
    self_UHC = (query_UHCd * key_UHCd).sum(-1).to(lse_UHC.dtype) * query_UHCd.size(3) ** -0.5
    lse_UHC = torch.logaddexp(lse_UHC, self_UHC)
    share_UHC1 = torch.exp(self_UHC - lse_UHC)[..., None].to(query_UHCd.dtype)
    return torch.lerp(history_UHCd, value_UHCd, share_UHC1), lse_UHC, share_UHC1


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output, lse, share = _attend(*inputs)
        ctx.save_for_backward(*inputs, output, lse, share)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, None]:
        query, key, value, keys, values, mask, output, lse, share = ctx.saved_tensors
        grad_query, grad_keys, grad_values = _attend_history_backward(grad, query, keys, values, mask, output, lse)
        grad_self = share * (grad * (value - output)).sum(-1, keepdim=True) * query.size(3) ** -0.5
        return grad_query + grad_self * key, grad_self * query, share * grad, grad_keys, grad_values, None


# The fast path of each device: the only place that tells devices apart.


def _attend_history(
    query_UHCd: Tensor,
    keys_UHLd: Tensor,
    values_UHLd: Tensor,
    mask_U1CL: Optional[Tensor],  # noqa: UP045
) -> tuple[Tensor, Tensor]:
    """Attention over the histories alone, and the log of its denominator (U, H, C)."""
    if query_UHCd.device.type == "cpu":
        history_UHCd, lse_UHC = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query_UHCd, keys_UHLd, values_UHLd, 0.0, False, attn_mask=mask_U1CL
        )
        return history_UHCd, lse_UHC
    bias_UHCL = _bias(query_UHCd, keys_UHLd, mask_U1CL)
    history_UHCd, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
        query_UHCd, keys_UHLd, values_UHLd, bias_UHCL, True
    )
    return history_UHCd, lse[:, :, : query_UHCd.size(2)]


def _attend_history_backward(
    grad: Tensor, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, output: Tensor, lse: Tensor
) -> Sequence[Tensor]:
    """Gradients of query, keys and values, of what the merged output owes to the history."""
    if query.device.type == "cpu":
        of_history: Sequence[Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, query, keys, values, output, lse, 0.0, False, attn_mask=mask
        )
        return of_history
    padded_lse = F.pad(lse, (0, -lse.size(2) % LSE_ALIGNMENT), value=math.inf)
    no_dropout = torch.zeros(2, dtype=torch.int64, device=query.device)
    of_all: Sequence[Tensor] = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
        *(grad, query, keys, values, _bias(query, keys, mask), output, padded_lse, no_dropout[0], no_dropout[1]),
        *(0.0, [True, True, True, False]),
    )
    return of_all[:3]


def _bias(query_UHCd: Tensor, keys_UHLd: Tensor, mask_U1CL: Optional[Tensor]) -> Tensor:  # noqa: UP045
    """The mask as CUDA's kernel reads it: (U, H, C, L), of which nothing is copied."""
    if mask_U1CL is None:
        everything_U1 = torch.full([keys_UHLd.size(0), 1], keys_UHLd.size(2), device=keys_UHLd.device)
        mask_U1CL = attention_mask(everything_U1, keys_UHLd)
    return mask_U1CL.expand(-1, query_UHCd.size(1), query_UHCd.size(2), -1)
