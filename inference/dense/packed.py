"""Linear layers whose weights are packed for the processor when the module's file is loaded.

oneDNN multiplies bytes several times as fast as floats, and packed floats faster than plain ones. What it packs has no
form that a file could hold, so a layer is saved with plain weights and packs them as it is loaded, in Python and C++.
Until then it computes with plain floats what the packed form computes: for calibration and for tests.

Both layers give a row the same bits whatever stands beside it, which `F.linear` on one to three rows does not. Where
activations are rounded that matters: of two inputs that differ in the last bit, one may be rounded up, the other down.

    N  rows     I  inputs     O  outputs
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# How a layer multiplies: plain floats until it is packed, then bytes, or floats where the processor's bytes saturate.
# TorchScript sees no constants of a module: the methods that it runs write the numbers.
PLAIN, BYTES, FLOATS = 0, 1, 2


class Levels(NamedTuple):
    """The 256 numbers, 0 among them, that a byte can stand for; what lies outside is clipped to the nearer end.

    The byte has no sign: with one, oneDNN takes its reference code on processors without AMX, at a thousandth of the
    rate.

    Args:
        step: between two of them.
        zero: the byte of 0.
    """

    step: float
    zero: int

    @classmethod
    def between(cls, low: float, high: float) -> "Levels":
        """Those of a range that holds 0."""
        assert low <= 0 <= high, "zero must be one of the levels"
        step = max(high - low, 1e-12) / 255
        return cls(step, round(-low / step))

    def nearest(self, x: Tensor) -> Tensor:
        """Each number, float32, as the nearest level."""
        return of_bytes(to_bytes(x, self.step, self.zero), self.step, self.zero)


def to_bytes(x: Tensor, step: float, zero: int) -> Tensor:
    """Each number as the byte of the nearest level. Every operation rounds by itself, wherever a number stands alike.

    (torch.quantize_per_tensor is no faster, and deprecated.)
    """
    return x.mul(1.0 / step).add_(zero + 0.5).clamp_(0.0, 255.0).to(torch.uint8)


def of_bytes(x: Tensor, step: float, zero: int) -> Tensor:
    """The numbers, float32, that bytes stand for."""
    return x.float().sub_(zero).mul_(step)


def round_weight(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Weights as int8, and the scale (O,) of each row."""
    scale_O = (weight_OI.abs().amax(1) / 127).clamp(min=1e-12)
    return torch.round(weight_OI / scale_O[:, None]).to(torch.int8), scale_O


class Int8Linear(nn.Module):
    """A linear layer in eight bits: a scale a row of the weights, and one scale for all that comes in.

    The latter is fixed, so a row's result does not depend on its batch mates; sums are integers, and exact.

    Args:
        linear: the trained layer.
        levels: what comes in is rounded to.
        gelu: apply GELU to what comes out.
        out: of the layer that reads it, which is given bytes then; None for floats.
    """

    weight_OI: Tensor
    scale_O: Tensor
    bias_O: Tensor

    def __init__(self, linear: nn.Linear, levels: Levels, gelu: bool = False, out: Levels | None = None) -> None:
        super().__init__()
        self.weight_OI, self.scale_O = round_weight(linear.weight.detach())
        self.bias_O = linear.bias.detach()
        self.step, self.zero, self.gelu = levels.step, levels.zero, gelu
        self.gives_bytes = out is not None
        self.out_step, self.out_zero = (1.0, 0) if out is None else out
        self.form = PLAIN
        self.packed = torch.zeros([0])

    def forward(self, x_NI: Tensor) -> Tensor:
        """(N, I) float32, or uint8 as another layer gives them for this one -> (N, O) float32 or uint8."""
        x = x_NI if x_NI.dtype == torch.uint8 else to_bytes(x_NI, self.step, self.zero)
        if self.form == 1:
            post, form = ("gelu", "none") if self.gelu else ("none", "")
            weight_zero_O = torch.zeros([self.scale_O.size(0)], dtype=torch.int64)
            out: Tensor = torch.ops.onednn.qlinear_pointwise(
                x,
                self.step,
                self.zero,
                self.packed,
                self.scale_O,
                weight_zero_O,
                self.bias_O,
                self.out_step,
                self.out_zero,
                torch.uint8 if self.gives_bytes else torch.float32,
                post,
                [],
                form,
            )
            return out
        x = of_bytes(x, self.step, self.zero)
        if self.form == 2:
            out = multiply_floats(x, self.packed, self.bias_O, self.gelu)
        else:
            out = F.linear(x, self.weight_OI * self.scale_O[:, None], self.bias_O)
            out = F.gelu(out) if self.gelu else out
        return to_bytes(out, self.out_step, self.out_zero) if self.gives_bytes else out

    @torch.jit.export
    def __getstate__(self) -> tuple[list[Tensor], list[float], list[int], bool, bool, bool]:
        """What the file holds: nothing that is packed."""
        tensors, steps, zeros = (
            [self.weight_OI, self.scale_O, self.bias_O],
            [self.step, self.out_step],
            [self.zero, self.out_zero],
        )
        return tensors, steps, zeros, self.gelu, self.gives_bytes, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[list[Tensor], list[float], list[int], bool, bool, bool]) -> None:
        """Packs the weights, for bytes or for floats, whichever this processor multiplies rightly."""
        tensors, steps, zeros, self.gelu, self.gives_bytes, self.training = state
        self.weight_OI, self.scale_O, self.bias_O = tensors
        self.step, self.out_step = steps
        self.zero, self.out_zero = zeros
        if bytes_are_exact(self.weight_OI.size(0), self.weight_OI.size(1)):
            self.form = 1
            self.packed = torch.ops.onednn.qlinear_prepack(self.weight_OI, None)
        else:
            self.form = 2
            self.packed = pack_floats(self.weight_OI * self.scale_O[:, None])


class FloatLinear(nn.Module):
    """A linear layer in floats of its own type, packed.

    Args:
        linear: the trained layer.
        gelu: apply GELU to what comes out.
    """

    weight_OI: Tensor
    bias_O: Tensor

    def __init__(self, linear: nn.Linear, gelu: bool = False) -> None:
        super().__init__()
        self.weight_OI, self.bias_O = linear.weight.detach(), linear.bias.detach()
        self.gelu = gelu
        self.form = PLAIN
        self.packed = torch.zeros([0])

    def forward(self, x_NI: Tensor) -> Tensor:
        """(N, I) -> (N, O), of the type of the weights."""
        if self.form == 2:
            return multiply_floats(x_NI, self.packed, self.bias_O, self.gelu)
        out_NO = F.linear(x_NI, self.weight_OI, self.bias_O)
        return F.gelu(out_NO) if self.gelu else out_NO

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, Tensor, bool, bool]:
        """What the file holds: nothing that is packed."""
        return self.weight_OI, self.bias_O, self.gelu, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, Tensor, bool, bool]) -> None:
        """Packs the weights."""
        self.weight_OI, self.bias_O, self.gelu, self.training = state
        self.form = 2
        self.packed = pack_floats(self.weight_OI)


def pack_floats(weight_OI: Tensor) -> Tensor:
    """Weights as oneDNN wants them; nothing but `multiply_floats` can read them."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_OI)
    return packed


def multiply_floats(x_NI: Tensor, packed: Tensor, bias_O: Tensor, gelu: bool) -> Tensor:
    """(N, O): x W^T + b, with GELU where it is asked for."""
    post, form = ("gelu", "none") if gelu else ("none", "")
    out_NO: Tensor = torch.ops.mkldnn._linear_pointwise(x_NI, packed, bias_O, post, [], form)
    return out_NO


def bytes_are_exact(outputs: int, inputs: int) -> bool:
    """Whether this processor sums products of bytes without saturating: kernels before VNNI add two in 16 bits.

    Args:
        outputs: of the layer that asks: kernels are chosen by sizes.
        inputs: of it.
    """
    packed = torch.ops.onednn.qlinear_prepack(torch.full([outputs, inputs], 127, dtype=torch.int8), None)
    largest = torch.full([16, inputs], 255, dtype=torch.uint8)
    ones, zeros = torch.ones([outputs]), torch.zeros([outputs], dtype=torch.int64)
    found: Tensor = torch.ops.onednn.qlinear_pointwise(
        largest, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return bool((found > 0.999 * 255 * 127 * inputs).all())
