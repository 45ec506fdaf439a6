r"""How much memory does `pinfm export` hold at most, beside its libraries and the packed tables that it writes?

    ./run python -m benchmarks.export_memory --out runs/export_memory --write

A ranker is trained for one epoch on a small simulated world, with 8 item tables of so many rows of 32 columns, once.
Each export of it is a process of its own. What its libraries hold once they are imported is told apart: the wheels of
torch with CUDA hold twice as much as those without.
"""

import argparse
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.runs import prepared
from benchmarks.parts.speed.performance import add_output_flags, put_out
from pinfm.embeddings.specs import ItemTableConfig
from pinfm.model.config import TowerConfig
from pinfm.model.stored.run_folder import REQUESTS
from pinfm.train.config import RunConfig
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place

PAGE = Path("docs/scale.md")
TABLES, COLUMNS = 8, 32
# Of a packed row: half a byte or a byte a value, and two numbers of fp16.
ROW_BYTES = {"int4": COLUMNS // 2 + 4, "int8": COLUMNS + 4}


def main() -> None:
    """Trains what is missing, exports, prints a table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/export_memory"), help="where the run is trained")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each of the 8 item tables")
    add_output_flags(parser)
    args = parser.parse_args()
    run = args.out / f"run_{args.rows}"
    if not (run / REQUESTS).exists():
        data = prepared(Simulate(num_users=500, num_items=2000), args.out / "dataset")
        finetune(config_of(args.rows), Place(data=data, out=run))
    rows = [row_of(run, precision, layout, args.rows) for precision, layout in product(ROW_BYTES, ("whole", "apart"))]
    put_out(args, "export_memory", {"exports": rows}, PAGE)


def config_of(rows: int) -> RunConfig:
    """Large tables below a small model.

    Args:
        rows: of each item table.
    """
    return RunConfig(
        device="cpu",
        item_table=ItemTableConfig(num_hashes=TABLES, rows=rows, dim=COLUMNS),
        tower=TowerConfig(num_layers=1, dim=64, num_heads=2, out_dim=64),
    )


def row_of(run: Path, precision: str, layout: str, rows: int) -> dict[str, Any]:
    """One export, by a process of its own.

    Args:
        run: the run folder.
        precision: of the tables.
        layout: of the files.
        rows: of each item table.
    """
    packed = TABLES * rows * ROW_BYTES[precision] / 2**20
    with tempfile.TemporaryDirectory(dir=run.parent) as folder:
        # A world this small does not tell what rounding costs.
        flags = ["--precision", precision, "--layout", layout, "--max-auc-loss", "1"]
        libraries, peak = held_mib(["export", str(run), "--out", f"{folder}/model", *flags])
    return {
        "precision": precision,
        "layout": layout,
        "packed tables, MiB": packed,
        "libraries, MiB": libraries,
        "most held, MiB": peak,
        "beside both, MiB": peak - libraries - packed,
    }


def held_mib(words: list[str]) -> tuple[float, float]:
    """What a call of `pinfm` held with its libraries imported, and at most."""
    # The process tells it: what the system tells of a child may be what its parent held when it was started.
    told = subprocess.check_output([sys.executable, "-m", "benchmarks.parts.workers.export", *words], text=True)
    libraries, peak = map(float, told.splitlines()[-1].split())
    return libraries, peak


if __name__ == "__main__":
    main()
