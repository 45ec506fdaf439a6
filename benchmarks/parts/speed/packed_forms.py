"""What `benchmarks.dense_precision` times: the forms of whole files, and of one layer with GELU behind it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.parts.speed.served_model import CONFIG, SCHEMA, Tables, random_request, scoring_module
from pinfm.inference.dense.pack import pack_tower, packed_names
from pinfm.inference.dense.packed import FloatLinear, Int8Linear, Levels
from pinfm.inference.dense.plan import Plan, plan_layers
from pinfm.inference.export import DENSE_DTYPES, save_module
from pinfm.model.ranking.joint import FusedRanker

# Requests that tell the bounds of what comes into each layer.
PLANNED_ON = 4
# What `pinfm export` writes, and then the same layers packed but not rounded; where bytes saturate, int8 takes as long
# as packed fp32.
FILES = ("fp32", "bf16", "int8", "packed fp32", "packed bf16")


def write_dense_files(tables: Tables, events: int, candidates: int, folder: Path) -> dict[str, Path]:
    """The files of one model in each form, with the same random weights.

    Args:
        tables: of SCHEMA.
        events: of the longest history.
        candidates: of a request.
        folder: for the files.
    """
    plan: Plan = {}
    files = {}
    for name in FILES:
        torch.manual_seed(0)
        dtype = DENSE_DTYPES.get(name.removeprefix("packed "), torch.float32)
        module = scoring_module(CONFIG, SCHEMA, tables, events, dtype)
        assert isinstance(module.model, FusedRanker)
        if name == "fp32":
            requests = [random_request(events, candidates) for _ in range(PLANNED_ON)]
            plan = plan_layers(module, requests, sample=1)
        if name == "int8":
            pack_tower(module.model.encoder, plan)
        if name.startswith("packed"):
            pack_tower(module.model.encoder, {key: replace(layer, mean_abs_change=1.0) for key, layer in plan.items()})
        files[name] = folder / f"{name.replace(' ', '_')}.pt"
        save_module(module, files[name])
    return files


def layer_forms(linear: nn.Linear, x_NI: Tensor, folder: Path) -> Mapping[str, Callable[[], Tensor]]:
    """A layer and GELU in each form, over the same rows; all but the products alone give what the layer gives.

    Args:
        linear: the layer.
        x_NI: what comes in.
        folder: for files of packed layers, which are packed as they are loaded.
    """
    weight_OI, bias_O = linear.weight.detach(), linear.bias.detach()
    half_OI, half_O, half_NI = weight_OI.bfloat16(), bias_O.bfloat16(), x_NI.bfloat16()
    packed_half = torch.ops.mkldnn._reorder_linear_weight(half_OI)
    levels = Levels.between(float(x_NI.min()), float(x_NI.max()))
    static, packed = _loaded(Int8Linear(linear, levels, gelu=True), folder), _loaded(FloatLinear(linear, True), folder)
    dynamic = torch.ao.quantization.quantize_dynamic(nn.Sequential(linear), {nn.Linear})
    bytes_NI = (x_NI * (127 / x_NI.abs().max())).round().to(torch.int8)
    bytes_IO = (weight_OI * (127 / weight_OI.abs().max())).round().to(torch.int8).T
    return {
        "fp32": lambda: F.gelu(F.linear(x_NI, weight_OI, bias_O)),
        "fp32, packed": lambda: packed(x_NI),
        "bf16": lambda: F.gelu(F.linear(half_NI, half_OI, half_O)),
        "bf16, packed": lambda: torch.ops.mkldnn._linear_pointwise(half_NI, packed_half, half_O, "gelu", [], "none"),
        "int8, static scale": lambda: static(x_NI),
        "int8, scale of the whole call (quantize_dynamic)": lambda: F.gelu(dynamic(x_NI)),
        "int8, a scale a row (torch._int_mm)": lambda: _by_rows(x_NI, bytes_IO, bias_O),
        "int8, the product alone (torch._int_mm)": lambda: torch._int_mm(bytes_NI, bytes_IO),
    }


def _by_rows(x_NI: Tensor, weight_IO: Tensor, bias_O: Tensor) -> Tensor:
    """A layer whose activations have a scale a row, in plain operations; the weights' scales would cost one more."""
    scale_N1 = x_NI.abs().amax(1, keepdim=True).div_(127)
    product_NO = torch._int_mm((x_NI / scale_N1).round_().to(torch.int8), weight_IO)
    return F.gelu(torch.addcmul(bias_O, product_NO, scale_N1))


def _loaded(layer: nn.Module, folder: Path) -> torch.jit.ScriptModule:
    module, path = nn.Sequential(layer).eval(), folder / "layer.pt"
    torch.jit.save(torch.jit.freeze(torch.jit.script(module), preserved_attrs=packed_names(module)), path)
    return torch.jit.load(path)
