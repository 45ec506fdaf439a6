"""Pointwise layers with the gradient with respect to their input.

Each module wraps a trained layer, in evaluation mode: `forward` returns the output and what `gradient` needs.

T  rows     D  width     H  hidden width
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.layers.mlp import NormalizedMLP, SwiGLU
from pinfm.model.layers.transformer import NoGate, SiluGate


class NormGradient(nn.Module):
    """Layer normalisation.

    Args:
        norm: the trained layer.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm, self.eps, self.width = norm, norm.eps, norm.normalized_shape[0]

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, D) -> (T, D), and each row's mean and reciprocal deviation (T, 1)."""
        output: tuple[Tensor, Tensor, Tensor] = torch.native_layer_norm(
            x_TD, [self.width], self.norm.weight, self.norm.bias, self.eps
        )
        return output

    @torch.jit.export
    def gradient(self, grad_TD: Tensor, x_TD: Tensor, mean_T1: Tensor, rstd_T1: Tensor) -> Tensor:
        """(T, D) of the output -> (T, D) of the input."""
        weight, bias = self.norm.weight, self.norm.bias
        of_x_TD: Tensor = torch.ops.aten.native_layer_norm_backward(
            grad_TD, x_TD, [self.width], mean_T1, rstd_T1, weight, bias, [True, False, False]
        )[0]
        return of_x_TD


class TwoLayers(nn.Module):
    """Linear, GELU, linear.

    Args:
        first: the first linear layer.
        last: the second.
    """

    def __init__(self, first: nn.Linear, last: nn.Linear) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D) -> the output, and the hidden layer before its activation (T, H)."""
        hidden_TH = self.first(x_TD)
        return self.last(F.gelu(hidden_TH)), hidden_TH

    @torch.jit.export
    def gradient(self, grad_TD: Tensor, hidden_TH: Tensor) -> Tensor:
        """(T, D) of the output -> (T, D) of the input."""
        of_hidden_TH: Tensor = torch.ops.aten.gelu_backward(grad_TD @ self.last.weight, hidden_TH)
        return of_hidden_TH @ self.first.weight


class GatedLayers(nn.Module):
    """SwiGLU.

    Args:
        layer: the trained layer.
    """

    def __init__(self, layer: SwiGLU) -> None:
        super().__init__()
        self.gate_and_value, self.out = layer.gate_and_value, layer.out

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D) -> the output, and gate and value beside each other (T, 2 H)."""
        both_TH = self.gate_and_value(x_TD)
        gate_TH, value_TH = both_TH.chunk(2, dim=-1)
        return self.out(F.silu(gate_TH) * value_TH), both_TH

    @torch.jit.export
    def gradient(self, grad_TD: Tensor, both_TH: Tensor) -> Tensor:
        """(T, D) of the output -> (T, D) of the input."""
        gate_TH, value_TH = both_TH.chunk(2, dim=-1)
        grad_TH = grad_TD @ self.out.weight
        of_gate_TH = torch.ops.aten.silu_backward(grad_TH * value_TH, gate_TH)
        return torch.cat([of_gate_TH, grad_TH * F.silu(gate_TH)], dim=1) @ self.gate_and_value.weight


def feed_forward_gradient(layer: nn.Module) -> TwoLayers | GatedLayers:
    """The form of a block's pointwise half that has a gradient."""
    if isinstance(layer, SwiGLU):
        return GatedLayers(layer)
    assert isinstance(layer, nn.Sequential)
    first, last = layer[0], layer[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return TwoLayers(first, last)


class UnitLayers(nn.Module):
    """`NormalizedMLP`: rows of length 1.

    Args:
        layer: the trained layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, NormalizedMLP)
        self.layers = feed_forward_gradient(layer.mlp)

    def forward(self, x_TD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, D) -> unit rows (T, O), the hidden layer, and what the rows were divided by (T, 1)."""
        rows_TO, hidden_TH = self.layers(x_TD)
        length_T1 = torch.linalg.vector_norm(rows_TO, dim=1, keepdim=True).clamp(min=1e-12)
        return rows_TO / length_T1, hidden_TH, length_T1

    @torch.jit.export
    def gradient(self, grad_TO: Tensor, unit_TO: Tensor, hidden_TH: Tensor, length_T1: Tensor) -> Tensor:
        """(T, O) of the unit rows -> (T, D) of the input."""
        along_T1 = (grad_TO * unit_TO).sum(1, keepdim=True)
        grad_TD: Tensor = self.layers.gradient((grad_TO - unit_TO * along_T1) / length_T1, hidden_TH)
        return grad_TD


class SiluGateGradient(nn.Module):
    """`SiluGate`.

    Args:
        gate: the trained layer.
    """

    def __init__(self, gate: SiluGate) -> None:
        super().__init__()
        self.gate = gate.gate

    def forward(self, attended_TD: Tensor, normed_TD: Tensor) -> tuple[Tensor, Tensor]:
        """What attention returned, and the normed rows -> gated rows, and the gate before its activation."""
        gate_TD = self.gate(normed_TD)
        return attended_TD * F.silu(gate_TD), gate_TD

    @torch.jit.export
    def gradient(self, grad_TD: Tensor, attended_TD: Tensor, gate_TD: Tensor) -> tuple[Tensor, Tensor]:
        """Of the gated rows -> of what attention returned, and of the normed rows."""
        of_gate_TD = torch.ops.aten.silu_backward(grad_TD * attended_TD, gate_TD)
        return grad_TD * F.silu(gate_TD), of_gate_TD @ self.gate.weight


class NoGateGradient(nn.Module):
    """`NoGate`."""

    def forward(self, attended_TD: Tensor, normed_TD: Tensor) -> tuple[Tensor, Tensor]:
        """See `SiluGateGradient`."""
        return attended_TD, attended_TD[:0]

    @torch.jit.export
    def gradient(self, grad_TD: Tensor, attended_TD: Tensor, gate_TD: Tensor) -> tuple[Tensor, Tensor]:
        """See `SiluGateGradient`; nothing comes from the normed rows: (1, 1) zero, which adds to any."""
        return grad_TD, grad_TD.new_zeros([1, 1])


def gate_gradient(gate: SiluGate | NoGate) -> SiluGateGradient | NoGateGradient:
    """The form of a block's gate that has a gradient."""
    return SiluGateGradient(gate) if isinstance(gate, SiluGate) else NoGateGradient()
