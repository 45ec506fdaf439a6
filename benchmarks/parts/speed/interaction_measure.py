"""Times one form of interaction with the heads after it, in turns with the same form written per candidate.

A form reads a request's vectors once a request. "Written per candidate" is the same form, with the same weights, whose
input is copied for every candidate first (`per_candidate`), as rankers commonly do.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parts.speed.meter import Meter
from pinfm.model.config import RankerConfig
from pinfm.model.ranking.interactions.build import build_interaction, out_shape_of
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, per_candidate
from pinfm.model.ranking.ranker import OverArch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TASKS = 3
# What every other form's training is a share of.
REFERENCE = "dot"


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a form is given.

    Args:
        shape: of the ranker's feature vectors.
        dtype: key of DTYPES.
        served: candidates of the one request that is scored.
        trained: candidates of a training batch, or None where a step would take minutes.
        requests: that they belong to, as evenly as whole numbers allow.
        repeats: turns of each.
    """

    shape: FieldShape
    dtype: str
    served: int = 1000
    trained: int | None = 4096
    requests: int = 400
    repeats: int


class Scored(nn.Module):
    """An interaction, the shared MLP and the heads: what a ranker runs after its feature vectors are there.

    Args:
        value: of `ranker.interaction`.
        shape: of the vectors.
        copied: write it per candidate.
    """

    def __init__(self, value: Any, shape: FieldShape, *, copied: bool = False) -> None:
        super().__init__()
        config = RankerConfig()
        self.copied = copied
        self.interaction = build_interaction(value, shape.per_candidate() if copied else shape)
        self.over_arch = OverArch(out_shape_of(self.interaction), config.over_hidden, TASKS, config.dropout)

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> logits (N, TASKS)."""
        logits_NK: Tensor = self.over_arch(self.interaction(per_candidate(fields) if self.copied else fields))
        return logits_NK


def measure(value: Any, load: Load, meter: Meter) -> dict[str, Any]:
    """The report's row of one form.

    Args:
        value: of `ranker.interaction`.
        load: what it is given.
        meter: of the device to run on.
    """
    torch.manual_seed(0)
    modules = {
        "split": Scored(value, load.shape),
        "copied": Scored(value, load.shape, copied=True),
        REFERENCE: Scored(REFERENCE, load.shape),
    }
    modules["copied"].load_state_dict(modules["split"].state_dict())
    for module in modules.values():
        module.to(meter.device, DTYPES[load.dtype])
    row = {"interaction": value, **_sizes(modules, load, meter), **_forward(modules, load, meter)}
    return row | _training(modules, load, meter) if load.trained else row


def random_fields(shape: FieldShape, candidates: int, requests: int, device: str, dtype: torch.dtype) -> Fields:
    """Vectors of requests with about equally many candidates each."""
    request, candidate = (
        torch.randn(rows, count, shape.dim, device=device).to(dtype)
        for rows, count in ((requests, shape.request), (candidates, shape.candidate))
    )
    return Fields(request, candidate, torch.arange(candidates, device=device) * requests // candidates)


def _sizes(modules: Mapping[str, nn.Module], load: Load, meter: Meter) -> dict[str, float]:
    """Weights, and the operations of matrix products for a candidate."""
    fields = random_fields(load.shape, load.served, 1, meter.device, DTYPES[load.dtype])
    millions = {}
    for name in ("split", "copied"):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            modules[name].eval()(fields)
        millions[name] = counter.get_total_flops() / load.served / 1e6
    return {
        "parameters, M": _parameters(modules["split"].interaction) / 1e6,
        "with heads, M": _parameters(modules["split"]) / 1e6,
        "MFLOP": millions["split"],
        "MFLOP copied": millions["copied"],
    }


def _parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _forward(modules: Mapping[str, nn.Module], load: Load, meter: Meter) -> dict[str, float]:
    """Milliseconds of scoring one request."""
    fields = random_fields(load.shape, load.served, 1, meter.device, DTYPES[load.dtype])
    with torch.no_grad():
        seconds = in_turns({name: _call(module.eval(), fields) for name, module in modules.items()}, load, meter)
    return {
        "forward, ms": 1e3 * statistics.median(seconds["split"]),
        "copied, ms": 1e3 * statistics.median(seconds["copied"]),
        "forward, ratio": ratio(seconds["copied"], seconds["split"]),
    }


def _training(modules: Mapping[str, nn.Module], load: Load, meter: Meter) -> dict[str, float]:
    """Candidates a second, forward and backward, and the most memory that this takes above weights and input."""
    assert load.trained is not None
    fields = random_fields(load.shape, load.trained, load.requests, meter.device, DTYPES[load.dtype])
    # They are rows of tables, which are trained too.
    fields.request.requires_grad_(), fields.candidate.requires_grad_()
    steps = {name: _step(module.train(), fields) for name, module in modules.items()}
    held = meter.reset_peak()
    steps["split"]()
    peak = meter.peak_mib() - held
    seconds = in_turns(steps, load, meter)
    return {
        "examples/s": load.trained / statistics.median(seconds["split"]),
        "copied, examples/s": load.trained / statistics.median(seconds["copied"]),
        "training, ratio": ratio(seconds["copied"], seconds["split"]),
        "of dot": ratio(seconds[REFERENCE], seconds["split"]),
        "peak, MiB": peak,
    }


def _call(module: nn.Module, fields: Fields) -> Callable[[], Any]:
    return lambda: module(fields)


def _step(module: nn.Module, fields: Fields) -> Callable[[], None]:
    """Forward and backward, to the weights and to the vectors."""

    def step() -> None:
        module(fields).float().square().mean().backward()
        for leaf in (*module.parameters(), fields.request, fields.candidate):
            leaf.grad = None

    return step


def in_turns(calls: Mapping[str, Callable[[], Any]], load: Load, meter: Meter) -> dict[str, list[float]]:
    """Seconds of each call, turn by turn; two turns before them warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(load.repeats + 2):
        for name, call in calls.items():
            start = meter.now()
            call()
            if turn >= 2:
                seconds[name].append(meter.now() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """The median over the turns: what slows one turn, another program say, slows both parts of it."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
