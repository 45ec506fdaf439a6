#!/usr/bin/env bash
# A model of FuxiCTR takes a setting that it does not know without a word, and is built with the default.
# Exits with 0 as long as FuxiCTR behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fuxictr==2.3.10 ray==2.52.0 torch==2.13.0 keras_preprocessing==1.1.2
cat > "$folder/settings.py" <<'PYTHON'
"""DCNv2 with the number of its layers under its own name, and under the name that FuxiCTR's configs of GDCN have."""

import sys
from importlib.metadata import version

from fuxictr.features import FeatureMap
from model_zoo.LongCTR.DCNv2.DCNv2 import DCNv2

columns = FeatureMap("clicks", ".")
columns.features = {name: {"source": "", "type": "categorical", "vocab_size": 10} for name in ("user", "item")}
columns.labels, columns.default_emb_dim = ["click"], 4
others = {
    "embedding_dim": 4,
    "model_structure": "crossnet_only",
    "optimizer": "adam",
    "loss": "binary_crossentropy",
    "metrics": ["AUC"],
    "model_root": ".",
    "verbose": 0,
}
named = DCNv2(columns, num_cross_layers=1, **others)
misnamed = DCNv2(columns, crossing_layers=1, no_such_setting="at all", **others)
layers = [len(model.crossnet.cross_layers) for model in (named, misnamed)]
print("fuxictr", version("fuxictr"), "torch", version("torch"))
print("Behaviour: every model ends its arguments with **kwargs, and what nobody reads is passed over, in YAML files too.")
print("One would have guessed: a TypeError, or at least a warning, that names the setting.")
print(f"layers with num_cross_layers=1: {layers[0]}; with crossing_layers=1: {layers[1]}")
sys.exit(0 if layers == [1, 3] else "FuxiCTR behaves otherwise now")
PYTHON
cd "$folder" && venv/bin/python settings.py
