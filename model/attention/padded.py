"""The attention of `merged.py` in one padded block with a mask: on CUDA, and on a CPU for many small requests.

N  candidates     S  histories     T  events     C  most candidates of a history     L  longest history
H  heads     d  width of a head
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.attention.visibility import PaddedCrossing
from pinfm.model.layers.jagged import Layout, pad, unpad


def attend_causally(query_THd: Tensor, keys_THd: Tensor, values_THd: Tensor, where: Layout) -> Tensor:
    """(T, H, d); see `merged.attend_causally`."""
    query, keys, values = to_block(query_THd, where), to_block(keys_THd, where), to_block(values_THd, where)
    # Padding stands after the real rows, where causal attention never looks.
    return from_block(F.scaled_dot_product_attention(query, keys, values, is_causal=True), where)


def attend_history(
    query_NHd: Tensor, keys_THd: Tensor, values_THd: Tensor, block: PaddedCrossing
) -> tuple[Tensor, Tensor]:
    """Attention over the events alone (N, H, d), and the log of its denominator (N, H)."""
    where_N, where_T = block.candidates, block.events
    query = to_block(query_NHd, where_N)
    history, lse = kernel(query, to_block(keys_THd, where_T), to_block(values_THd, where_T), bias_of(block, query))
    return from_block(history, where_N), unpad(lse[:, :, : where_N.max_length].transpose(1, 2), where_N)


def attend_history_backward(
    grad: Tensor, query: Tensor, keys: Tensor, values: Tensor, output: Tensor, lse: Tensor, block: PaddedCrossing
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, keys and values, of what the merged output owes to the events."""
    where_N, where_T = block.candidates, block.events
    query_block = to_block(query, where_N)
    # An infinite denominator leaves no probability to rows that nobody asked for.
    lse_SCH = pad(lse, where_N).masked_fill(pad(torch.ones_like(lse), where_N) == 0, math.inf)
    of_query, of_keys, of_values = kernel_backward(
        *(to_block(grad, where_N), query_block, to_block(keys, where_T), to_block(values, where_T)),
        *(bias_of(block, query_block), to_block(output, where_N), lse_SCH.transpose(1, 2)),
    )
    return from_block(of_query, where_N), from_block(of_keys, where_T), from_block(of_values, where_T)


def kernel(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The device's fused attention over blocks: output, and log-sum-exp (S, H, >= C), which may end in padding."""
    if query.device.type == "cpu":
        history, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, 0.0, False, attn_mask=bias[:, :1]
        )
    else:
        history, lse, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(query, keys, values, bias, True)
    return history, lse


def kernel_backward(
    grad: Tensor, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, output: Tensor, lse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, keys and values, all blocks as `kernel` has them."""
    if grad.device.type == "cpu":
        of_query, of_keys, of_values = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            grad, query, keys, values, output, lse.contiguous(), 0.0, False, attn_mask=bias[:, :1]
        )
        return of_query, of_keys, of_values
    lse = F.pad(lse, (0, -lse.size(2) % 32), value=math.inf).contiguous()  # as the kernel keeps it
    no_dropout = torch.zeros(2, dtype=torch.int64, device=grad.device)
    of_query, of_keys, of_values, _ = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
        *(grad, query, keys, values, bias, output, lse, no_dropout[0], no_dropout[1]),
        *(0.0, [True, True, True, False]),
    )
    return of_query, of_keys, of_values


def bias_of(block: PaddedCrossing, like: Tensor) -> Tensor:
    """(S, H, C, L), a view: the block's bias in the type of the queries, the same for all heads."""
    bias_SCL = block.bias.to(like.dtype)[:, :, : block.events.max_length]
    return bias_SCL[:, None].expand(-1, like.size(1), -1, -1)


def to_block(x_THd: Tensor, where: Layout) -> Tensor:
    """(T, H, d) rows, or a block (B, L, H, d) of them -> (B, H, L, d)."""
    if x_THd.dim() == 4:
        return x_THd.transpose(1, 2)
    padded = pad(x_THd.flatten(1), where)
    return padded.view(where.num_sequences, where.max_length, x_THd.size(1), x_THd.size(2)).transpose(1, 2)


def from_block(x_BHLd: Tensor, where: Layout) -> Tensor:
    """(B, H, L, d) -> (T, H, d) rows."""
    rows = unpad(x_BHLd.transpose(1, 2).flatten(2), where)
    return rows.view(rows.size(0), x_BHLd.size(1), x_BHLd.size(3))
