"""Putting packed layers into a scoring module, in place of the tower's linear ones."""

from torch import nn

from pinfm.inference.dense.block import PackedMLP
from pinfm.inference.dense.dcat import PackedDCAT
from pinfm.inference.dense.packed import FloatLinear, Int8Linear, Levels
from pinfm.inference.dense.plan import Plan
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.layers.mlp import NormalizedMLP


def pack_tower(encoder: SequenceEncoder, plan: Plan) -> None:
    """Replaces the layers of a tower that stand on the way to a candidate's score; for serving on a processor alone.

    Args:
        encoder: in evaluation mode, in float32.
        plan: from `plan_layers`.
    """

    def levels(name: str) -> Levels | None:
        layer = plan[name]
        return Levels.between(layer.low, layer.high) if layer.precision == "int8" else None

    def pack(name: str, linear: nn.Linear, gelu_before: str | None = None) -> Int8Linear | FloatLinear:
        own = levels(name)
        if own is None:
            return FloatLinear(linear, gelu_before is not None)
        return Int8Linear(linear, own, gelu_before is not None, levels(gelu_before) if gelu_before else None)

    # The trained modules are typed as what they were.
    encoder.fusion.add_module("dcat", PackedDCAT(encoder.fusion.dcat, "fusion.dcat", pack).eval())
    for name in ("tokens.phi_in", "phi_out"):
        projection = encoder.get_submodule(name)
        if isinstance(projection, NormalizedMLP):
            projection.add_module("mlp", PackedMLP(projection.mlp, f"{name}.mlp", pack).eval())


def packed_names(module: nn.Module) -> list[str]:
    """The layers that must keep their own state when a module is frozen: they pack it when the file is loaded."""
    return [name for name, layer in module.named_modules() if isinstance(layer, (Int8Linear, FloatLinear))]
