"""The dense model of a scoring module, exported by torch.export and compiled by AOTInductor, a package a stage."""

import copy
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._inductor import config as inductor_config
from torch.export import Dim, ExportedProgram, export

from pinfm.inference.aoti.cpu import architecture, capability
from pinfm.inference.aoti.pieces import Bounds
from pinfm.inference.module import ScoringModule
from pinfm.model.inputs import History
from pinfm.model.padded.stages import Cross, Encode, Rank
from pinfm.model.ranking.joint import FusedRanker, PlainRanker

# Of every block. Slots: what a call holds of the widest layer is 64 MB at width 256.
MOST_REQUESTS, MOST_CANDIDATES, MOST_SLOTS = 64, 1024, 1 << 14
# A history may be longer than the model was trained to read by the rows that padding and a learnable token need.
FEWEST_EVENTS = 8
# Sizes of the example inputs: a tracer takes two dimensions of one size for one dimension, and 0 and 1 for constants.
REQUESTS, EVENTS, CANDIDATES, ROWS = 3, 5, 7, 11
# Sizes choose the form of some interactions; at this many candidates a request none takes the one that reads numbers.
NEVER = 1 << 40


class Stage(NamedTuple):
    """What is compiled into a package.

    Args:
        function: in evaluation mode.
        example: inputs.
        sizes: of each input, its dimensions that vary.
    """

    function: nn.Module
    example: tuple[Tensor, ...]
    sizes: tuple[dict[int, Any], ...]


def bounds_of(max_history: int) -> Bounds:
    """What the packages of a model take at most.

    Args:
        max_history: events that it reads.
    """
    return Bounds(MOST_REQUESTS, max(max_history, FEWEST_EVENTS), MOST_CANDIDATES, MOST_SLOTS)


@torch.no_grad()
def stages_of(module: ScoringModule, bounds: Bounds) -> dict[str, Stage]:
    """The stages by name, over a copy of the module's dense model that is traced without forms that read numbers.

    Args:
        module: in evaluation mode, in float32, not adapted.
        bounds: of its blocks.
    """
    model = copy.deepcopy(module.model).requires_grad_(False)
    assert isinstance(model, (FusedRanker, PlainRanker))
    for part in model.modules():
        if hasattr(part, "many"):
            setattr(part, "many", NEVER)  # noqa: B010
    requests, events, candidates, rows = (
        Dim(name, min=1, max=most)
        for name, most in zip(("requests", "events", "candidates", "rows"), bounds, strict=True)
    )
    stages, tower_dim = {}, 0
    if isinstance(model, FusedRanker):
        stages = _tower_stages(model, module, (requests, events, candidates))
        tower_dim = stages["cross"].function(*stages["cross"].example).size(2)
    example = (
        torch.zeros(ROWS, tower_dim),
        torch.zeros(ROWS, module.item_tables.dim),
        torch.zeros(ROWS, module.content_dim),
        torch.arange(ROWS) * REQUESTS // ROWS,
        torch.zeros(REQUESTS, len(module.request_tables), module.feature_dim),
        torch.zeros(ROWS, len(module.candidate_tables), module.feature_dim),
        torch.zeros(REQUESTS, len(module.request_dense) + _num_counts(model)),
        torch.zeros(ROWS, len(module.candidate_dense)),
    )
    sizes = [{0: rows}] * 4 + [{0: requests}, {0: rows}] * 2
    return {**stages, "rank": Stage(Rank(model).eval(), example, tuple(sizes))}


def compile_stage(stage: Stage, path: Path, *, packed: bool = True) -> None:
    """Writes a stage's package.

    Args:
        stage: from `stages_of`.
        path: to write, a .pt2 file.
        packed: lay weights out for oneDNN: 1.8 times as fast, so only a comparison does without.
    """
    compiled_for = capability()
    configs: dict[str, Any] = {
        # Else the number of threads of this process is compiled in.
        "cpp.dynamic_threads": True,
        "cpp.march": architecture(compiled_for),
        # For hosts that read no JSON.
        "aot_inductor.metadata": {"pinfm_cpu": compiled_for},
    }
    with torch.no_grad(), inductor_config.patch(freezing=packed), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec", FutureWarning)  # of torch, about torch
        program: ExportedProgram = export(stage.function, stage.example, dynamic_shapes=stage.sizes)
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=configs)


def _tower_stages(model: FusedRanker, module: ScoringModule, sizes: tuple[Any, Any, Any]) -> dict[str, Stage]:
    requests, events, candidates = sizes
    encode, item_dim = Encode(model.encoder).eval(), module.item_tables.dim
    histories = (
        torch.zeros(REQUESTS, EVENTS, item_dim),
        *(_codes(REQUESTS, EVENTS) for _ in range(3)),
        _codes(REQUESTS) + EVENTS,
    )
    kept = encode(*histories)
    asked = (
        kept,
        _codes(REQUESTS) + EVENTS,
        torch.zeros(REQUESTS, CANDIDATES, item_dim),
        torch.zeros(REQUESTS, CANDIDATES, module.content_dim),
        _codes(REQUESTS),
        _codes(REQUESTS),
    )
    # What is kept of a history: a row an event and maybe one more, or one in all.
    kept_rows = {} if kept.size(2) == 1 else {2: Dim("kept", min=2, max=events.max + 1)}
    of_requests, of_events, of_candidates = {0: requests}, {0: requests, 1: events}, {0: requests, 1: candidates}
    return {
        "encode": Stage(encode, histories, (*[of_events] * 4, of_requests)),
        "cross": Stage(
            Cross(model.encoder, has_surface=module.has_surface).eval(),
            asked,
            ({1: requests, **kept_rows}, of_requests, of_candidates, of_candidates, of_requests, of_requests),
        ),
    }


def _num_counts(model: FusedRanker | PlainRanker) -> int:
    """How many numbers the ranker counts in a history."""
    nothing = History(_codes(REQUESTS), *(_codes(0) for _ in range(4)))
    counts_UM: Tensor = model.times_and_counts(nothing, _codes(REQUESTS))[2]
    return counts_UM.size(1)


def _codes(*shape: int) -> Tensor:
    """Zeros, each input a tensor of its own: a tracer takes one that is given twice for one input."""
    return torch.zeros(shape, dtype=torch.int64)
