"""Every form of the dense model goes through torch.export, and what comes out serves other sizes than those it saw."""

from typing import get_args

import pytest
import torch
from test_module import FEATURES, VARIANTS, build, inputs_of
from torch.export import export

from pinfm.inference.aoti.build import bounds_of, stages_of
from pinfm.inference.aoti.packages import Packages
from pinfm.inference.aoti.pieces import Pieces
from pinfm.model.live_counts import LiveCountsSpec
from pinfm.model.ranking.interactions.table import InteractionName
from pinfm.model.schema import Feature

# A variant takes seconds; of most of them the parts are in these.
QUICK = {"token and content", "lite_mean", "no tower"}
SIZES = [[(5, 2), (0, 3), (1, 0), (3, 1)], [(1, 1)], [(8, 40)], [(4, 5)] * 9]


@pytest.mark.parametrize(
    "options",
    [pytest.param(value, id=key, marks=() if key in QUICK else pytest.mark.slow) for key, value in VARIANTS.items()],
)
def test_variants_are_exported(options):
    require_equal(*build(**options))


def test_gates_counts_in_histories_and_live_counters_are_exported():
    counters = LiveCountsSpec(of=("item",), kinds=("impression", "click"), windows=("1h", "all"), rates={"click": 0.1})
    own = tuple(Feature(name=name, kind="dense", scope="candidate", mean=1.0, std=2.0) for name in counters.names())
    gated = {"attention_gate": True, "mlp": "swiglu", "positions": "none", "time": "none"}
    module, schema = build(tower=gated, history_counts=True, live_counts=counters, features=(*FEATURES, *own))
    with torch.no_grad():
        assert module.model.ranker.live_path.linear.weight.abs().max() > 0
    require_equal(module, schema, counters.names())


@pytest.mark.parametrize("name", get_args(InteractionName))
def test_interactions_are_exported(name):
    require_equal(*build(interaction=name, use_tower=False, table_dim=4))


@torch.no_grad()
def require_equal(module, schema, counters=()):
    """The exported programs score as the module; counters are no negative numbers."""
    bounds = bounds_of(8)
    stages = stages_of(module, bounds)
    programs = {
        name: export(stage.function, stage.example, dynamic_shapes=stage.sizes).module()
        for name, stage in stages.items()
    }
    packages = Packages(module, Pieces(bounds, has_tower="encode" in stages), programs)
    for lengths in SIZES:
        inputs = inputs_of(schema, lengths)
        inputs |= {name: inputs[name].abs() for name in counters}
        torch.testing.assert_close(packages(inputs), module(inputs), rtol=0, atol=1e-5)
