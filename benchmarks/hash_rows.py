"""How many rows does each of k hashed sub-tables need, so that N items keep vectors of their own? The formula, drawn.

    ./run python -m benchmarks.hash_rows

Writes docs/scale/hash_rows.svg.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.plots import STYLE

HASHES = (2, 3, 4, 8)
PAPER = (8, 80_000_000)  # sub-tables and rows of each


def main() -> None:
    """Prints rows for some catalogues and draws all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/scale/hash_rows.svg"))
    args = parser.parse_args()
    for items in (10**6, 10**8, 10**9):
        needed = [f"k = {k}: {rows_needed(items, k):,.0f}" for k in HASHES]
        print(f"{items:,} items, one pair alike: {', '.join(needed)} rows")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        items = np.logspace(5, 10, 50)
        for k in HASHES:
            axes.loglog(items, rows_needed(items, k), label=f"k = {k}")
        axes.axhline(PAPER[1], color="black", linewidth=0.8, linestyle="--", label="rows of the paper's 8 sub-tables")
        axes.set_xlabel("items")
        axes.set_ylabel("rows a sub-table")
        axes.legend(fontsize=8)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out, metadata={"Date": None})
    print(f"wrote {args.out}")


def rows_needed(items: float, num_hashes: int) -> float:
    """Rows of each sub-table at which one pair of items is expected to share its row in all of them.

    There are N (N - 1) / 2 pairs, and each shares all k rows with probability R^-k.

    Args:
        items: N.
        num_hashes: k.

    Example:
        >>> round(rows_needed(10**6, 4))
        841
    """
    rows: float = (items * (items - 1) / 2) ** (1 / num_hashes)
    return rows


if __name__ == "__main__":
    main()
