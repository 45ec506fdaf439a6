"""Weighted sums over all pairs of numbers, whose products are never held for all rows at once.

A, B  rows, in two dimensions or in one     I, J  numbers of a row, to be paired     O  sums
"""

from typing import Any

import torch
from torch import Tensor

# Products held at a time: 4 MiB in float32, about what a core's cache takes.
HELD = 1 << 20


def pair_products(x_ABI: Tensor, y_ABJ: Tensor, weight_OIJ: Tensor) -> Tensor:
    """sum_ij W_oij x_abi y_abj: (A, B, I), (A, B, J) -> (A, B, O).

    The products are (A, B, I J), far more than goes in or comes out. They are made and multiplied by W block by block,
    and made again for the gradient. (torch's `bilinear` holds no more, but was 3 times slower in training on a CPU.)
    """
    x, y, weight = x_ABI.flatten(0, 1), y_ABJ.flatten(0, 1), weight_OIJ
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        # A tracer knows no number of rows to walk through; what it exports has few of them.
        traced = torch.compiler.is_exporting()
        if traced:
            at_once = torch.matmul(products(x, y), weight.flatten(1).t())
            return at_once.view(x_ABI.size(0), x_ABI.size(1), weight.size(0))
    if torch.jit.is_scripting() or not torch.is_grad_enabled():  # type: ignore[attr-defined]
        return _sums(x, y, weight).view(x_ABI.size(0), x_ABI.size(1), weight.size(0))
    device = x.device.type
    if torch.is_autocast_enabled(device):  # the gradient's products must run in one type, outside autocast
        dtype = torch.get_autocast_dtype(device)
        x, y, weight = x.to(dtype), y.to(dtype), weight.to(dtype)
    sums: Tensor = _PairProducts.apply(x, y, weight)  # type: ignore[no-untyped-call]
    return sums.view(x_ABI.size(0), x_ABI.size(1), weight.size(0))


def _sums(x: Tensor, y: Tensor, weight: Tensor, held: int = HELD) -> Tensor:
    out = torch.empty([x.size(0), weight.size(0)], dtype=x.dtype, device=x.device)
    step = rows_at_once(weight, held)
    for first in range(0, x.size(0), step):
        rows = products(x[first : first + step], y[first : first + step])
        out[first : first + step] = torch.matmul(rows, weight.flatten(1).t())
    return out


def rows_at_once(weight: Tensor, held: int) -> int:
    """How many rows have so many products."""
    return max(1, held // max(1, weight.size(1) * weight.size(2)))


def products(x: Tensor, y: Tensor) -> Tensor:
    """(B, I), (B, J) -> (B, I J)."""
    return (x[:, :, None] * y[:, None, :]).flatten(1)


class _PairProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        return _sums(x, y, weight, HELD)

    @staticmethod
    def backward(ctx: Any, grad_BO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, y, weight = ctx.saved_tensors
        grad_x, grad_y = torch.empty_like(x), torch.empty_like(y)
        # Blocks are summed in float32 at least.
        grad_weight = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32)).flatten(1)
        step = rows_at_once(weight, HELD)
        for first in range(0, x.size(0), step):
            block = slice(first, first + step)
            grad, x_block, y_block = grad_BO[block], x[block], y[block]
            of_products = torch.matmul(grad, weight.flatten(1)).view(len(grad), x.size(1), y.size(1))
            grad_x[block] = (of_products * y_block[:, None, :]).sum(2)
            grad_y[block] = (of_products * x_block[:, :, None]).sum(1)
            grad_weight += torch.matmul(grad.t(), products(x_block, y_block))
        return grad_x, grad_y, grad_weight.view_as(weight).to(weight.dtype)
