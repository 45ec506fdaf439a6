"""Writes `MODEL/aoti/`: a package a stage, and the code that cuts requests into pieces."""

from pathlib import Path
from typing import Any

import torch

from pinfm.embeddings.files.sums import crc32_of
from pinfm.inference.aoti.build import bounds_of, compile_stage, stages_of
from pinfm.inference.aoti.cpu import capability
from pinfm.inference.aoti.load import AOTI, PIECES, SUMS
from pinfm.inference.aoti.pieces import Pieces
from pinfm.inference.folders import MODULE
from pinfm.inference.module import ScoringModule
from pinfm.inference.signature import sha256


def write_packages(module: ScoringModule, folder: Path) -> dict[str, Any]:
    """Compiles a module's dense model into a model folder.

    Args:
        module: in evaluation mode, in float32, not adapted; its tables may be empty.
        folder: the model folder, with its `scoring.pt`.

    Returns:
        The manifest's `aoti`: `cpu`, `bounds` of what the packages take, and `sha256` of each file.
    """
    own = folder / AOTI
    own.mkdir()
    bounds = bounds_of(module.checks.max_history)
    stages = stages_of(module, bounds)
    for name, stage in stages.items():
        compile_stage(stage, own / f"{name}.pt2")
    torch.jit.script(Pieces(bounds, has_tower="encode" in stages)).save(str(own / PIECES))
    names = [*(f"{name}.pt2" for name in stages), PIECES]
    # For hosts that read no JSON; the module too, beside another of which the packages would give wrong scores.
    summed = [*names, f"../{MODULE}"]
    (own / SUMS).write_text("".join(f"{crc32_of(own / name):08x} {name}\n" for name in summed))
    return {"cpu": capability(), "bounds": bounds._asdict(), "sha256": {name: sha256(own / name) for name in names}}
