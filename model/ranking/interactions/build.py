"""The builder: what a recipe says of interactions -> a module."""

from importlib import import_module
from typing import Any

from torch import nn

from pinfm.model.ranking.interactions.parts.composed import Parallel, Stacked
from pinfm.model.ranking.interactions.parts.fields import FieldShape
from pinfm.model.ranking.interactions.settings import FormPlan, Plan, Stack, interaction_plan
from pinfm.model.ranking.interactions.table import FORMS


def build_interaction(value: Any, shape: FieldShape) -> nn.Module:
    """The module of `ranker.interaction`, with `out_shape` as an attribute.

    Args:
        value: as a recipe has it, see `settings.py`.
        shape: of the ranker's feature vectors.

    Raises:
        UserError: a value that is none, or forms that can't follow each other.
    """
    return _built(interaction_plan(value), shape)


def out_shape_of(interaction: nn.Module) -> FieldShape:
    """The shape of what a form gives."""
    out_shape: FieldShape = interaction.out_shape  # type: ignore[assignment]  # to a checker, any attribute is a Tensor
    return out_shape


def _built(plan: Plan, shape: FieldShape) -> nn.Module:
    if isinstance(plan, FormPlan):
        file, name = FORMS[plan.name].path.split(".")
        module: nn.Module = getattr(import_module(f"pinfm.model.ranking.interactions.forms.{file}"), name)(
            shape, **plan.settings
        )
        return module
    parts = []
    if isinstance(plan, Stack):
        for part in plan.parts:
            parts.append(_built(part, shape))
            shape = out_shape_of(parts[-1])
        return Stacked(parts, shape)
    parts = [_built(part, shape) for part in plan.parts]
    return Parallel(parts, [out_shape_of(part) for part in parts])
