#!/usr/bin/env bash
# TorchScript can't compile a function that returns early and again from inside a `with` block.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/with.py" <<'PYTHON'
"""The same function written in three ways, each scripted."""

import sys
import warnings

import torch

warnings.filterwarnings("ignore", category=DeprecationWarning)


def alone(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return x + 1


def after_an_early_return(x: torch.Tensor) -> torch.Tensor:
    if x.size(0) == 0:
        return x
    with torch.no_grad():
        return x + 1


def one_return_outside(x: torch.Tensor) -> torch.Tensor:
    y = x
    with torch.no_grad():
        if x.size(0) > 0:
            y = x + 1
    return y


def outcome(function) -> str:
    """What scripting the function comes to."""
    try:
        scripted = torch.jit.script(function)
    except RuntimeError as error:
        return "INTERNAL ASSERT FAILED" if "INTERNAL ASSERT FAILED" in str(error) else str(error)
    return "compiles" if torch.equal(scripted(torch.ones(2)), function(torch.ones(2))) else "gives something else"


found = {function.__name__: outcome(function) for function in (alone, after_an_early_return, one_return_outside)}
print("torch", torch.__version__)
print("Behaviour: a return from inside `with torch.no_grad()` compiles as long as it is the function's only one. After an")
print("  early return torch.jit.script ends in an internal assertion of torch's, which names neither function nor line.")
print("One would have guessed: both compile, as early returns and `with` do each by itself, or the message tells the line.")
for name, told in found.items():
    print(f"{name}: {told}")
expected = {"alone": "compiles", "after_an_early_return": "INTERNAL ASSERT FAILED", "one_return_outside": "compiles"}
sys.exit(0 if found == expected else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/with.py"
