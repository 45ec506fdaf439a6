"""DCAT's attention: events look at earlier events, candidates at their request's events and at themselves alone.

    U  requests     N  their candidates     T  events of all histories     H  heads     d  width of a head

All candidates of a request meet its keys in one product, so K and V of a history are read once and never copied.
PyTorch's fused attention does it in blocks and never holds the scores; it also returns the log of the softmax's
denominator, with which the candidate's own key, one more column of the softmax, is merged in afterwards:

    lse' = log(e^lse + e^s)      out' = out + e^(s - lse') (v - out)      s = <q, k> / sqrt(d), of the candidate itself

The gradient needs no second kernel: the fused backward makes probabilities of scores and a denominator, and reads the
output for the sum of a row, so that given out' and lse' in place of out and lse it returns the history's part exactly.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pinfm.model.attention import groups, padded
from pinfm.model.attention.runs import Run, rows_of
from pinfm.model.attention.visibility import Crossing, Histories


def attend_causally(query_THd: Tensor, keys_THd: Tensor, values_THd: Tensor, among: Histories) -> Tensor:
    """Softmax attention of every event over the events of its history up to itself.

    Args:
        query_THd: the events' queries.
        keys_THd: their keys.
        values_THd: their values.
        among: which events.

    Returns:
        (T, H, d).
    """
    runs = among.runs
    if len(runs) == 0:
        blocks = among.groups
        if blocks is None:
            return padded.attend_causally(query_THd, keys_THd, values_THd, among.where)
        return groups.attend_causally(query_THd, keys_THd, values_THd, blocks)
    sizes = [run.requests * run.queries for run in runs]
    # Split as one operation: the gradients of so many slices would be so many tensors of the whole size.
    queries, keys, values = torch.split(query_THd, sizes), torch.split(keys_THd, sizes), torch.split(values_THd, sizes)
    attended: list[Tensor] = []
    for i, run in enumerate(runs):
        count, length = run.requests, run.queries
        query = rows_of(queries[i], 0, count, length)
        key, value = rows_of(keys[i], 0, count, length), rows_of(values[i], 0, count, length)
        attended.append(to_rows(F.scaled_dot_product_attention(query, key, value, is_causal=True)))
    return joined(attended)


def attend_history_and_self(
    query_NHd: Tensor, key_NHd: Tensor, value_NHd: Tensor, keys_THd: Tensor, values_THd: Tensor, sees: Crossing
) -> Tensor:
    """Softmax attention of every candidate over [the events that it sees, itself].

    Args:
        query_NHd: the candidates' queries.
        key_NHd: their own keys.
        value_NHd: their own values.
        keys_THd: the events' keys.
        values_THd: the events' values.
        sees: which events.

    Returns:
        (N, H, d).
    """
    if torch.jit.is_scripting() or not torch.is_grad_enabled():  # type: ignore[attr-defined]
        return _attend(query_NHd, key_NHd, value_NHd, keys_THd, values_THd, sees)[0]
    result: Tensor = _Attend.apply(query_NHd, key_NHd, value_NHd, keys_THd, values_THd, sees)  # type: ignore[no-untyped-call]
    return result


def _attend(
    query_NHd: Tensor, key_NHd: Tensor, value_NHd: Tensor, keys_THd: Tensor, values_THd: Tensor, sees: Crossing
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, lse' (N, H) and the candidate's own share of the softmax (N, H, 1)."""
    block = sees.block
    if block is None:
        history_NHd, lse_NH = _attend_history(query_NHd, keys_THd, values_THd, sees.runs)
    else:
        history_NHd, lse_NH = padded.attend_history(query_NHd, keys_THd, values_THd, block)
    self_NH = (query_NHd.to(lse_NH.dtype) * key_NHd.to(lse_NH.dtype)).sum(-1) * query_NHd.size(2) ** -0.5
    lse_NH = torch.logaddexp(lse_NH, self_NH)
    share_NH1 = torch.exp(self_NH - lse_NH)[..., None].to(query_NHd.dtype)
    return torch.lerp(history_NHd, value_NHd, share_NH1), lse_NH, share_NH1


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output, lse, share = _attend(*inputs)
        ctx.sees = inputs[-1]
        ctx.save_for_backward(*inputs[:-1], output, lse, share)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, None]:
        query, key, value, keys, values, output, lse, share = ctx.saved_tensors
        runs, block = ctx.sees
        of_history = (grad, query, keys, values, output, lse)
        if block is None:
            grad_query, grad_keys, grad_values = _attend_history_backward(*of_history, runs)
        else:
            grad_query, grad_keys, grad_values = padded.attend_history_backward(*of_history, block)
        grad_self = share * (grad * (value - output)).sum(-1, keepdim=True) * query.size(2) ** -0.5
        return grad_query + grad_self * key, grad_self * query, share * grad, grad_keys, grad_values, None


def _attend_history(query_NHd: Tensor, keys_THd: Tensor, values_THd: Tensor, runs: list[Run]) -> tuple[Tensor, Tensor]:
    """Attention over the events alone, and the log of its denominator (N, H); of no event, zeros and -inf."""
    attended: list[Tensor] = []
    lses: list[Tensor] = []
    first = 0
    for run in runs:
        rows = run.requests * run.queries
        if run.events == 0:
            attended.append(torch.zeros_like(query_NHd[first : first + rows]))
            lses.append(torch.full([rows, query_NHd.size(1)], -math.inf))
        else:
            history, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                rows_of(query_NHd, first, run.requests, run.queries),
                rows_of(keys_THd, run.first_event, run.requests, run.events),
                rows_of(values_THd, run.first_event, run.requests, run.events),
            )
            attended.append(to_rows(history))
            lses.append(lse.transpose(1, 2).flatten(0, 1))
        first += rows
    return joined(attended), joined(lses)


def _attend_history_backward(
    grad: Tensor, query: Tensor, keys: Tensor, values: Tensor, output: Tensor, lse: Tensor, runs: list[Run]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, keys and values, of what the merged output owes to the events."""
    grad_query, grad_keys, grad_values = torch.zeros_like(query), torch.zeros_like(keys), torch.zeros_like(values)
    first = 0
    for run in runs:
        rows, events = run.requests * run.queries, run.requests * run.events
        if events:
            candidates = (rows_of(x, first, run.requests, run.queries) for x in (grad, query, output, lse[..., None]))
            grad_block, query_block, output_block, lse_block = candidates
            of_query, of_keys, of_values = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad_block,
                query_block,
                rows_of(keys, run.first_event, run.requests, run.events),
                rows_of(values, run.first_event, run.requests, run.events),
                output_block,
                lse_block[..., 0].contiguous(),
                0.0,
                False,
            )
            grad_query[first : first + rows] = to_rows(of_query)
            # Requests that share a history add up.
            grad_keys[run.first_event : run.first_event + events] += to_rows(of_keys)
            grad_values[run.first_event : run.first_event + events] += to_rows(of_values)
        first += rows
    return grad_query, grad_keys, grad_values


def to_rows(x_BHLd: Tensor) -> Tensor:
    """(B * L, H, d): the inverse of `rows_of`."""
    return x_BHLd.transpose(1, 2).flatten(0, 1)


def joined(parts: list[Tensor]) -> Tensor:
    """The parts behind each other, without a copy of a single one."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
