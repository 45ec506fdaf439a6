"""log-sum-exp over many items in bounded memory: the sum behind every InfoNCE and softmax loss.

The block of logits, one row an anchor and one column an item, is by far the largest of a training step: 20,000 anchors
against 100,000 items are 8 GB. So it is made a few rows at a time and made again for the gradient, which costs a
quarter more products and, on a CPU, less time, because a block stays in the cache.

    A  anchors     K  items     S  users' rows of the mask     O  width
"""

from typing import Any

import torch
from torch import Tensor

# Stands for "not among the items" in place of -inf, whose log-sum-exp has no gradient.
NEVER = -1e9
# Logits made at a time: 8 MB in float32.
BLOCK = 1 << 21


def log_sum_exp(query_AO: Tensor, z_KO: Tensor, log_weight_K: Tensor, hidden_SK: Tensor, mask_row_A: Tensor) -> Tensor:
    """log sum_k w_k exp(<q_i, z_k>), over the items that anchor i does not hide.

    Args:
        query_AO: the anchors, divided by the temperature.
        z_KO: the items.
        log_weight_K: log w; -1e9 leaves an item out.
        hidden_SK: bool, true where an item is left out; S = 0 hides nothing.
        mask_row_A: each anchor's row of `hidden_SK`.

    Returns:
        (A,) float32; about -1e9 where nothing is left. Differentiable in query_AO and z_KO.
    """
    result: Tensor = _LogSumExp.apply(query_AO, z_KO, log_weight_K, hidden_SK, mask_row_A)  # type: ignore[no-untyped-call]
    return result


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query_AO: Tensor, z_KO: Tensor, log_weight_K: Tensor, hidden_SK: Tensor, mask_row_A: Tensor
    ) -> Tensor:
        device = query_AO.device.type
        # A product under autocast runs in its type; the gradient's products must run in the same.
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query_AO.dtype
        query_AO, z_KO = query_AO.to(ctx.dtype), z_KO.to(ctx.dtype)
        lse_A = torch.empty(query_AO.size(0), dtype=torch.float32, device=query_AO.device)
        for rows in _blocks(query_AO.size(0), z_KO.size(0)):
            logits = _logits(query_AO[rows], z_KO, log_weight_K, hidden_SK, mask_row_A[rows])
            highest = logits.amax(dim=1, keepdim=True)
            # Below e^-50 of the largest nothing changes in float32, and on a CPU exp is ten times slower there.
            weights = logits.sub_(highest).clamp_(min=-50.0).exp_()
            lse_A[rows] = highest[:, 0] + weights.sum(dim=1).log()
        ctx.save_for_backward(query_AO, z_KO, log_weight_K, hidden_SK, mask_row_A, lse_A)
        return lse_A

    @staticmethod
    def backward(ctx: Any, grad_A: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query_AO, z_KO, log_weight_K, hidden_SK, mask_row_A, lse_A = ctx.saved_tensors
        grad_query_AO = torch.empty_like(query_AO, dtype=torch.float32)
        grad_z_KO = torch.zeros_like(z_KO, dtype=torch.float32)
        for rows in _blocks(query_AO.size(0), z_KO.size(0)):
            logits = _logits(query_AO[rows], z_KO, log_weight_K, hidden_SK, mask_row_A[rows])
            weights = torch.threshold_(logits.sub_(lse_A[rows, None]).clamp_(min=-50.0).exp_(), 1e-21, 0.0)
            weights = weights.mul_(grad_A[rows, None]).to(ctx.dtype)
            grad_query_AO[rows] = (weights @ z_KO).float()
            grad_z_KO += (weights.T @ query_AO[rows]).float()
        return grad_query_AO, grad_z_KO, None, None, None


def _blocks(num_anchors: int, num_items: int) -> list[slice]:
    step = max(1, BLOCK // max(1, num_items))
    return [slice(start, start + step) for start in range(0, num_anchors, step)]


def _logits(query_BO: Tensor, z_KO: Tensor, log_weight_K: Tensor, hidden_SK: Tensor, mask_row_B: Tensor) -> Tensor:
    logits_BK = (query_BO @ z_KO.T).float().add_(log_weight_K)
    return logits_BK.masked_fill_(hidden_SK[mask_row_B], NEVER) if hidden_SK.size(0) else logits_BK
