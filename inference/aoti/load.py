"""Loads `MODEL/aoti/`, after a look at what it was compiled for and at its checksums."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference.aoti.cpu import require_capability
from pinfm.inference.aoti.packages import Packages
from pinfm.inference.folders import MANIFEST
from pinfm.inference.signature import sha256

# The folder, what cuts requests into pieces, and CRC-32 of all for hosts that read no JSON.
AOTI, PIECES, SUMS = "aoti", "pieces.pt", "crc32"


def load_packages(folder: Path, module: torch.jit.ScriptModule) -> Packages:
    """The compiled dense model of a model folder.

    Loading runs machine code of the folder: load only models that you trust.

    Args:
        folder: the model folder.
        module: its scoring module, which checks and looks up.

    Raises:
        UserError: there is none, a file is missing or was changed, or this processor can't run it.
    """
    listed = manifest_of(folder)
    require_capability(listed["cpu"], f"{folder / AOTI}")
    for name, digest in listed["sha256"].items():
        path = folder / AOTI / name
        if not path.is_file():
            raise UserError(f"{path} is missing; copy the whole model folder, or export the run again.")
        if sha256(path) != digest:
            raise UserError(f"{path} was changed after its export (sha256 differs); export the run again.")
    names = [name for name in listed["sha256"] if name != PIECES]
    stages = {name.removesuffix(".pt2"): torch._inductor.aoti_load_package(str(folder / AOTI / name)) for name in names}
    return Packages(module, torch.jit.load(folder / AOTI / PIECES), stages)


def manifest_of(folder: Path) -> Mapping[str, Any]:
    """What the manifest says of compiled packages; raises UserError where there are none."""
    listed: Mapping[str, Any] | None = json.loads((folder / MANIFEST).read_text()).get(AOTI)
    if listed is None:
        raise UserError(
            f"{folder} holds no compiled packages; export the run with --format torchscript,aoti, or load it with "
            'format="torchscript".'
        )
    return listed
