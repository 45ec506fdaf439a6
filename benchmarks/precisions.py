r"""What tables of fewer bits cost a ranker: size, probabilities and AUC, on the requests that the run kept.

    ./run python -m benchmarks.precisions --run quickstart/fused --write

Every precision is exported and checked as `pinfm export` does it, with no limit to the loss.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, get_args

from benchmarks.parts.pages import write_results
from pinfm.embeddings.specs import ServedPrecision
from pinfm.inference.export import export
from pinfm.inference.folders import MANIFEST, MODULE
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import change_as_text
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.comparison.report.markdown import table

PAGE = Path("docs/scale.md")


def main() -> None:
    """Exports a run in every precision, prints the table and writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a finished run of `pinfm finetune`")
    parser.add_argument("--write", action="store_true", help="write the page in docs/ and its JSON file")
    args = parser.parse_args()
    hush_libraries()
    rows = {precision: exported(args.run, precision) for precision in get_args(ServedPrecision)}
    print(as_table(rows))
    if args.write:
        write_results(PAGE, "precisions", as_table(rows), {"rows": rows})


def exported(run: Path, precision: ServedPrecision) -> dict[str, Any]:
    """Bytes of the scoring file, and what the export found; nothing is too much to be exported."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        export(run, out, ExportOptions(precision=precision, max_auc_loss=1.0))
        return {"bytes": (out / MODULE).stat().st_size, **json.loads((out / MANIFEST).read_text())["parity"]}


def as_table(rows: dict[str, dict[str, Any]]) -> str:
    """A line a precision; the change of AUC with its standard error."""
    tasks = list(next(iter(rows.values()))["auc_change"])
    lines = []
    for precision, found in rows.items():
        changes = [change_as_text(found["auc_change"][task], found["auc_change_error"][task]) for task in tasks]
        lines.append([precision, f"{found['bytes'] / 1e6:.2f} MB", f"{found['max_abs_diff']:.1g}", *changes])
    return table(["precision", MODULE, "largest difference of a probability", *tasks], lines)


if __name__ == "__main__":
    main()
