#!/usr/bin/env bash
# On a CPU a row's bits depend on how many rows stand beside it: in linear, in logaddexp and in fused attention.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/rows.py" <<'PYTHON'
"""The first rows of a tensor alone, and among all: operations whose formula reads no other row."""

import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(999, 256)
weight, keys, values = torch.randn(256, 256) / 16, torch.randn(1, 8, 100, 32), torch.randn(1, 8, 100, 32)
packed = torch.ops.mkldnn._reorder_linear_weight(weight)


def attention(rows, tile=None):
    """Every row looks at the same keys: in one block, or in blocks of `tile` rows, the last one padded."""
    count = rows.size(0)
    tile = tile or count
    blocks = F.pad(rows, (0, 0, 0, -count % tile)).view(-1, tile, 8, 32).transpose(1, 2)
    keys_, values_ = (kept.expand(blocks.size(0), -1, -1, -1) for kept in (keys, values))
    return F.scaled_dot_product_attention(blocks, keys_, values_).transpose(1, 2).reshape(-1, 256)[:count]


FORMS = {
    "F.linear": lambda rows: F.linear(rows, weight),
    "logaddexp of 8 numbers a row": lambda rows: torch.logaddexp(rows[:, :8].contiguous(), rows[:, 8:16].contiguous()),
    "attention, one block": attention,
    "mkldnn._linear_pointwise": lambda rows: torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], ""),
    "exp of 8 numbers a row": lambda rows: torch.exp(rows[:, :8].contiguous()),
    "attention, blocks of 16": lambda rows: attention(rows, 16),
}
DIFFER = list(FORMS)[:3]
print("torch", torch.__version__, torch.cpu.get_capabilities().get("cpu_name", ""))
print("Behaviour: a kernel is chosen by the number of rows (a product of up to three rows is another one), and numbers")
print("  behind the last whole vector are computed by other code than those in vectors. The last bit differs.")
print("One would have guessed: a row's result is the same whatever stands beside it, since nothing of that is read.")
found = []
for name, form in FORMS.items():
    whole = form(x)
    differ = [count for count in (1, 2, 3, 5, 17, 33, 100, 998) if not torch.equal(form(x[:count]), whole[:count])]
    print(f"{name}: bits differ at {differ or 'no number of rows'}")
    if differ:
        found.append(name)
sys.exit(0 if found == DIFFER else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/rows.py"
