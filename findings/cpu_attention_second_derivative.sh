#!/usr/bin/env bash
# On a CPU, scaled_dot_product_attention takes its fused kernel although a second derivative was asked for, and has none.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/second.py" <<'PYTHON'
"""A gradient's gradient through attention, as torch chooses the kernel and as it is told to."""

import sys
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# Two heads, five rows of width 8.
x = torch.randn(1, 2, 5, 8, dtype=torch.float64)


def attended(y):
    return F.scaled_dot_product_attention(y, y, y, is_causal=True)


def outcome(context) -> tuple[str, str]:
    """What a gradient with create_graph=True comes to, and the gradient of it."""
    y = x.clone().requires_grad_()
    with context:
        (first,) = torch.autograd.grad(attended(y).square().sum(), y, create_graph=True)
    told = "has a graph" if first.requires_grad else "has no graph"
    try:
        torch.autograd.grad(first.square().sum(), y)
    except RuntimeError as error:
        return told, "is not implemented" if "is not implemented" in str(error) else str(error)
    return told, "is there"


found = {"as torch chooses": outcome(nullcontext()), "SDPBackend.MATH": outcome(sdpa_kernel(SDPBackend.MATH))}
print("torch", torch.__version__)
print("Behaviour: on a CPU the fused kernel is taken whenever its inputs fit. Its gradient with create_graph=True comes with")
print("  a graph and without a word; that graph raises when it is used, later and elsewhere.")
print("One would have guessed: create_graph=True chooses a kernel that can be differentiated twice, or is refused at once.")
for name, (first, second) in found.items():
    print(f"{name}: the first gradient {first}, the second {second}")
expected = {
    "as torch chooses": ("has a graph", "is not implemented"),
    "SDPBackend.MATH": ("has a graph", "is there"),
}
sys.exit(0 if found == expected else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/second.py"
