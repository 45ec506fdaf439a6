#!/usr/bin/env bash
# pandas' nullable integers become floats on their way to numpy where one is missing, and large unsigned ones become 0.
# Exits with 0 as long as pandas behaves so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==3.1.1 numpy==2.4.6
cat > "$folder/integers.py" <<'PYTHON'
"""An id of 61 bits beside a missing one, and the largest unsigned id."""

import sys

import numpy as np
import pandas as pd

large = 2**60 + 1
nullable = pd.Series([large, None], dtype="Int64")
values = nullable.to_numpy()
unsigned = pd.array([2**64 - 1, 2**63, 5], dtype="uint64")
exact = np.array([2**64 - 1, 2**63, 5], dtype="uint64")
print("pandas", pd.__version__, "numpy", np.__version__)
print("Behaviour: to_numpy() of nullable integers with a missing one gives float64, in which 2**60 + 1 is 2**60;")
print("  pd.array of Python integers as uint64 makes 0 of 2**64 - 1, where numpy keeps it.")
print("One would have guessed: an array of objects with the integers and pd.NA, and what numpy makes of the same list.")
print("nullable:", values.dtype, int(values[0]) - 2**60, "instead of 1")
print("unsigned:", unsigned.tolist(), "instead of", exact.tolist())
as_found = values.dtype == np.float64 and int(values[0]) == 2**60 and int(unsigned[0]) == 0
sys.exit(0 if as_found else "pandas behaves otherwise now")
PYTHON
"$folder/venv/bin/python" "$folder/integers.py"
