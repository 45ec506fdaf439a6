#!/usr/bin/env bash
# torch._int_mm on a CPU without VNNI: sums are cut to 16 bits, and nobody says so.
# A processor with VNNI stands in for one without: oneDNN is told to use older instructions alone.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! grep -q -E 'avx512_vnni|avx_vnni' /proc/cpuinfo; then
    echo "this processor has no VNNI, so what is right can't be shown beside what is wrong"
    exit 0
fi
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/product.py" <<'PYTHON'
"""Rows of 64 times 127 with themselves, and small numbers with small numbers."""

import torch

largest = torch.full((2, 64), 127, dtype=torch.int8)
small = torch.full((2, 64), 10, dtype=torch.int8)
print(int(torch._int_mm(largest, largest.t())[0, 0]), int(torch._int_mm(small, small.t())[0, 0]))
PYTHON
with=$("$folder/venv/bin/python" "$folder/product.py")
without=$(ONEDNN_MAX_CPU_ISA=AVX2 "$folder/venv/bin/python" "$folder/product.py")
"$folder/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
echo "Behaviour: int8 times int8 into int32 is right with VNNI. Without, neighbouring products are added in 16 bits, which"
echo "  cuts them off: large values give a hundredth of their product, small ones the right one. No error, no warning."
echo "One would have guessed: an operation whose result is int32 is exact on every processor, or refuses."
echo "right:            $((64 * 127 * 127)) $((64 * 10 * 10))"
echo "with VNNI:        $with"
echo "without (AVX2):   $without"
[ "$with" = "$((64 * 127 * 127)) $((64 * 10 * 10))" ] && [ "${without%% *}" != "$((64 * 127 * 127))" ] \
    || { echo "torch behaves otherwise now"; exit 1; }
