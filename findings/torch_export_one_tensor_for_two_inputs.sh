#!/usr/bin/env bash
# torch.export takes a tensor that is given for two example inputs for one input, and the program reads the second for both.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/twice.py" <<'PYTHON'
"""a - b, exported with one tensor for both example inputs, and with two tensors of equal values."""

import sys

import torch
from torch.export import export


class Difference(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a - b


example = torch.zeros(3)
once = export(Difference(), (example, example)).module()
apart = export(Difference(), (example, torch.zeros(3))).module()
a, b = torch.full((3,), 5.0), torch.ones(3)
print("torch", torch.__version__)
print("Behaviour: where one tensor stands for two example inputs, the exported program has both inputs, reads the second one")
print("  in place of both, and says nothing, neither when it is made nor when it is given two tensors that differ.")
print("One would have guessed: example inputs tell types and sizes, so that a - b of 5 and 1 is 4 whichever stood for them.")
print("eager:                         ", Difference()(a, b).tolist())
print("exported with two tensors:     ", apart(a, b).tolist())
print("exported with one tensor twice:", once(a, b).tolist())
as_found = torch.equal(apart(a, b), a - b) and torch.equal(once(a, b), torch.zeros(3))
sys.exit(0 if as_found else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/twice.py"
