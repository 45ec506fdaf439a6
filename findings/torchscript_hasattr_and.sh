#!/usr/bin/env bash
# TorchScript answers hasattr as it compiles, and leaves out the branch that is not taken; but not behind an `and`.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/optional.py" <<'PYTHON'
"""A part that may be there, asked for by two nested ifs and by one with `and`."""

import sys
import warnings

import torch
from torch import Tensor, nn

warnings.simplefilter("ignore")  # that TorchScript is deprecated


class Nested(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self.model, "part"):
            if hasattr(self.model.part, "weight"):
                return x + self.model.part.weight
        return x


class Joined(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self.model, "part") and hasattr(self.model.part, "weight"):
            return x + self.model.part.weight
        return x


def outcome(kind: type[nn.Module]) -> str:
    module, x = kind(nn.ReLU()), torch.ones(2)  # it has no part
    assert torch.equal(module(x), x)
    try:
        return "compiles" if torch.equal(torch.jit.script(module)(x), x) else "gives something else"
    except RuntimeError as error:
        return "has no attribute 'part'" if "has no attribute 'part'" in str(error) else str(error)


found = {"two ifs": outcome(Nested), "one if with and": outcome(Joined)}
print("torch", torch.__version__)
print("Behaviour: `if hasattr(m, 'a'): if hasattr(m.a, 'b'): ...` compiles where m has no a, for the inner if is left out.")
print("  `if hasattr(m, 'a') and hasattr(m.a, 'b'): ...` does not: what stands behind the `and` is compiled all the same.")
print("One would have guessed: the two are the same, as in Python, and as ruff's SIM102 has them rewritten.")
for name, what in found.items():
    print(f"{name}: {what}")
sys.exit(0 if found == {"two ifs": "compiles", "one if with and": "has no attribute 'part'"} else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/optional.py"
