#!/usr/bin/env bash
# A training loop inside one `torch.autocast` computes every step with the weights of its first step.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/steps.py" <<'PYTHON'
"""Three steps of SGD in bf16: autocast around the loop, around each step, and around the loop without its cache."""

import sys

import torch


def losses(around_loop, around_step):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(4, 1), torch.randn(8, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    found = []
    with around_loop():
        for _ in range(3):
            with around_step():
                loss = layer(x).float().square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            found.append(round(loss.item(), 6))
    return found


def autocast(**options):
    return torch.autocast("cpu", dtype=torch.bfloat16, **options)


whole_loop = losses(autocast, torch.enable_grad)
nested = losses(autocast, autocast)
each_step = losses(torch.enable_grad, autocast)
no_cache = losses(lambda: autocast(cache_enabled=False), torch.enable_grad)
print("torch", torch.__version__)
print("Behaviour: autocast keeps each weight as it first cast it until the outermost autocast is left, and an optimizer's")
print("  step in between does not tell it: with one autocast around the loop the weights change and the losses do not. An")
print("  inner autocast changes nothing of it; one a step, or cache_enabled=False, does.")
print("One would have guessed: a forward pass computes with the weights as they are; a loop may be inside or outside.")
print("around the loop:           ", whole_loop)
print("around the loop and a step:", nested)
print("around each step:          ", each_step)
print("around the loop, no cache: ", no_cache)
as_found = len(set(whole_loop)) == 1 and nested == whole_loop and each_step == no_cache and len(set(each_step)) == 3
sys.exit(0 if as_found else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/steps.py"
