#!/usr/bin/env bash
# Processes that torchrun starts again find, in the store that they are given, what the ones before them wrote.
# Exits with 0 as long as torch behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.1
cat > "$folder/worker.py" <<'PYTHON'
"""Looks into the store of its group for a word of the attempt before, leaves its own, and fails the first time."""

import os
import sys

import torch.distributed as dist

attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
store, _, _ = next(dist.rendezvous("env://"))
print(f"attempt {attempt}: port {os.environ['MASTER_PORT']}, a word is there: {store.check(['word'])}", flush=True)
store.set("word", attempt)
sys.exit(attempt == "0")
PYTHON
run() {
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=$1 OMP_NUM_THREADS=1 "$folder/venv/bin/python" -m torch.distributed.run \
        --standalone --nproc-per-node 1 --max-restarts 1 "$folder/worker.py" 2> "$folder/log"
}
"$folder/venv/bin/python" -c 'import torch; print("torch", torch.__version__)'
echo "Behaviour: torchrun keeps one store through all restarts, so a process that is started again finds the words of the one"
echo "  before. What processes write there to find each other, as gloo does, then names processes that are gone."
echo "One would have guessed: each start has a store of its own; a comment in torch/distributed/rendezvous.py says so."
echo "as it is:"
shared=$(run 0)
echo "$shared"
echo "with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1:"
apart=$(run 1)
echo "$apart"
grep -q "attempt 1: .*True" <<< "$shared" && grep -q "attempt 1: .*False" <<< "$apart" || {
    echo "torch behaves otherwise now" >&2
    exit 1
}
