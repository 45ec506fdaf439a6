"""Which layers of the tower an artefact has in eight bits, and between which bounds: found on real requests.

A layer whose rounding, alone, moves the probabilities too far stays in float32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pinfm.inference.dense.packed import Levels, round_weight
from pinfm.inference.module import ScoringModule
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.layers.transformer import Block
from pinfm.model.ranking.joint import FusedRanker

# Mean change of a probability, above which a layer stays in float32.
MOST_ALONE = 1e-3
# The parts of the encoder that stand on the way to a candidate's score.
PARTS = ("tokens.phi_in", "fusion.dcat", "phi_out")


@dataclass(frozen=True)
class PlannedLayer:
    """A layer of the tower, and what the requests tell of it.

    Args:
        low: the least that comes in, at most 0.
        high: the most, at least 0.
        mean_abs_change: of a probability, where this layer alone is rounded.
    """

    low: float
    high: float
    mean_abs_change: float

    @property
    def precision(self) -> str:
        """What the layer is served in."""
        return "int8" if self.mean_abs_change <= MOST_ALONE else "fp32"

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"precision": self.precision, **asdict(self)}


# By the layer's name within the encoder.
Plan = dict[str, PlannedLayer]


@dataclass(frozen=True)
class TowerLayer:
    """A linear layer within the tower.

    Args:
        linear: the layer.
        norm: in front of it, where its weight is read in parts and it is never called as a whole.
    """

    linear: nn.Linear
    norm: nn.LayerNorm | None = None

    def on_input(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Calls a function with all that comes into the layer, in whose place what it returns is put."""
        if self.norm is not None:
            return self.norm.register_forward_hook(lambda _norm, _inputs, output: hook(output))
        return self.linear.register_forward_pre_hook(lambda _linear, inputs: hook(inputs[0]))


@torch.no_grad()
def plan_layers(module: ScoringModule, batches: Sequence[dict[str, Tensor]], sample: int) -> Plan:
    """What each layer of the tower is served in.

    Args:
        module: of a run with a tower, in float32, with its tables placed.
        batches: inputs of real requests.
        sample: how many of the batches, the first, tell what rounding a layer alone costs.
    """
    assert isinstance(module.model, FusedRanker)
    layers = tower_layers(module.model.encoder)
    bounds = {name: [0.0, 0.0] for name in layers}
    handles = [layer.on_input(_widening(bounds[name])) for name, layer in layers.items()]
    expected = [probabilities(module, batch) for batch in batches][:sample]
    for handle in handles:
        handle.remove()
    plan = {}
    for name, layer in layers.items():
        low, high = bounds[name]
        with _rounded(layer, Levels.between(low, high)):
            changes = [probabilities(module, batches[i]) - before for i, before in enumerate(expected)]
        plan[name] = PlannedLayer(low, high, float(torch.cat(changes).abs().mean()))
    return plan


def tower_layers(encoder: SequenceEncoder) -> dict[str, TowerLayer]:
    """The layers that `pack_tower` packs, by their names within the encoder."""
    found = {}
    for outer in PARTS:
        norms = {}
        for inner, layer in encoder.get_submodule(outer).named_modules(prefix=outer):
            if isinstance(layer, Block):
                norms[f"{inner}.query_key_value"] = layer.attention_norm
            elif isinstance(layer, nn.Linear):
                found[inner] = TowerLayer(layer, norms.get(inner))
    return found


def probabilities(module: ScoringModule, inputs: dict[str, Tensor]) -> Tensor:
    """(N * tasks,) what the module gives for some requests."""
    return torch.cat(list(module(inputs).values()))


def _widening(bounds: list[float]) -> Callable[[Tensor], None]:
    def widen(x: Tensor) -> None:
        if x.numel() > 0:
            bounds[:] = min(bounds[0], float(x.min())), max(bounds[1], float(x.max()))

    return widen


@contextmanager
def _rounded(layer: TowerLayer, levels: Levels) -> Iterator[None]:
    """The layer with the weights and inputs that it would have in eight bits, while the context is open."""
    trained = layer.linear.weight.data
    weight_OI, scale_O = round_weight(trained)
    layer.linear.weight.data = weight_OI * scale_O[:, None]
    handle = layer.on_input(levels.nearest)
    try:
        yield
    finally:
        layer.linear.weight.data = trained
        handle.remove()
