#!/usr/bin/env bash
# onednn.qlinear_pointwise takes signed activations too, at a thousandth of the rate on a processor with VNNI, without AMX.
# Exits with 0 as long as torch behaves so; it says so and exits with 0 on processors that this is not about.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/bytes.py" <<'PYTHON'
"""One layer, the same numbers as bytes without a sign and with one."""

import sys
import time

import torch

torch.set_num_threads(1)
torch.manual_seed(0)
ROWS, WIDTH = 128, 256
features = torch.cpu.get_capabilities()
if features.get("amx_int8") or not features.get("avx512_vnni"):
    print("Not measured: this processor has AMX, or no AVX-512 VNNI.")
    sys.exit(0)
weight = torch.randint(-127, 128, (WIDTH, WIDTH), dtype=torch.int8)
packed = torch.ops.onednn.qlinear_prepack(weight, None)
scale, zero = torch.full([WIDTH], 1e-3), torch.zeros([WIDTH], dtype=torch.int64)
signed = torch.randint(-128, 128, (ROWS, WIDTH), dtype=torch.int8)
FORMS = {"uint8": ((signed.int() + 128).to(torch.uint8), 128), "int8": (signed, 0)}
results, seconds = {}, {}
for name, (x, zero_point) in FORMS.items():
    for _ in range(3):  # the first call also makes the kernel
        start = time.process_time()
        results[name] = torch.ops.onednn.qlinear_pointwise(
            x, 0.1, zero_point, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        seconds[name] = min(seconds.get(name, 1e9), time.process_time() - start)
print("torch", torch.__version__, features.get("cpu_name", ""))
print("Behaviour: both types are accepted, and give the same. Bytes without a sign meet a kernel of VNNI; for bytes with a")
print("  sign oneDNN has none without AMX, and takes its reference code without a word.")
print("One would have guessed: int8, the symmetric and simpler form, is as fast, or is refused.")
for name, taken in seconds.items():
    print(f"{name}: {1e3 * taken:.3f} ms")
alike = torch.allclose(results["uint8"], results["int8"], rtol=1e-5, atol=1e-4)
print("alike:", alike, "  times slower:", round(seconds["int8"] / seconds["uint8"]))
sys.exit(0 if alike and seconds["int8"] > 100 * seconds["uint8"] else "torch behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/bytes.py"
