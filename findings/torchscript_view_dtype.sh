#!/usr/bin/env bash
# In TorchScript a tensor's `view(torch.int64)` is no view of its bits: the type is taken for a shape.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/view.py" <<'PYTHON'
"""One function, eager and scripted, on tensors of four and of five numbers."""

import sys
import warnings

import torch

warnings.filterwarnings("ignore", category=DeprecationWarning)


def bits(x: torch.Tensor) -> torch.Tensor:
    return x.view(torch.int64)


scripted = torch.jit.script(bits)
four = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
print("torch", torch.__version__)
print("Behaviour: eager code reads the bits of a float64 tensor as integers. The scripted function takes torch.int64, which")
print("  is the number 4 there, for a shape: four numbers come back as the floats that they were, of any other number of")
print("  them it says that a shape of [4] does not fit.")
print("One would have guessed: TorchScript gives what eager code gives, or refuses to compile.")
print("eager:    ", bits(four).tolist())
print("scripted: ", scripted(four).tolist(), scripted(four).dtype)
try:
    scripted(torch.cat([four, four[:1]]))
    said = ""
except RuntimeError as error:
    said = str(error).strip().splitlines()[-1]
print("scripted, five numbers:", said)
as_found = torch.equal(scripted(four), four) and "shape '[4]' is invalid" in said
sys.exit(0 if as_found else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/view.py"
