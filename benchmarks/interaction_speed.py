r"""What a form of interaction costs: weights, operations, time to score, time and memory to train.

    ./run python -m benchmarks.interaction_speed --report speed.json

Every form and composition of the table, with the shared MLP and the heads after it, at KuaiRand's feature vectors and
at more and wider ones. It takes turns with the same form written per candidate, and with the dot product. Random
weights and vectors cost what trained ones cost. `benchmarks.interactions` tells what a form is worth.
"""

import argparse
from collections.abc import Mapping
from itertools import product
from typing import Any, get_args

import torch
from tqdm import tqdm

from benchmarks.parts.speed.interaction_measure import DTYPES, Load, measure
from benchmarks.parts.speed.meter import Meter
from benchmarks.parts.speed.performance import add_output_flags, as_table, keep_report, put_out
from pinfm.inference import keep_freed_memory
from pinfm.model.ranking.interactions.parts.fields import FieldShape
from pinfm.model.ranking.interactions.table import InteractionName

# Vectors of a request and of a candidate, and their width.
SHAPES = {"kuairand": FieldShape(29, 10, 16), "wide": FieldShape(60, 20, 64)}
# The wide vectors' training steps take minutes on two cores.
LOADS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {"kuairand": {"repeats": 7}, "wide": {"repeats": 3, "trained": None}},
    "cuda": {"kuairand": {"repeats": 20}, "wide": {"repeats": 7}},
}
PRECISIONS = {"cpu": ["fp32"], "cuda": list(DTYPES)}


def main() -> None:
    """Measures, prints a table for each kind of vectors and precision, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(LOADS), default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES), help="feature vectors")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="forms and compositions; all by default")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    found: dict[str, list[dict[str, Any]]] = {}
    every = product(args.shapes, PRECISIONS[args.device], args.only or get_args(InteractionName))
    for shape, dtype, name in tqdm(list(every), unit="form", disable=None):
        load = Load(shape=SHAPES[shape], dtype=dtype, **LOADS[args.device][shape])
        found.setdefault(f"{shape}, {dtype}", []).append(measure(name, load, Meter(args.device)))
        keep_report(args, found)
    put_out(args, f"interaction speed {args.device}", found, markdown=tables_of(found))


def tables_of(report: Mapping[str, Any]) -> str:
    """The tables of a report, each below a line that tells the vectors and the precision."""
    tables = ((shape, dtype, report.get(f"{shape}, {dtype}")) for shape, dtype in product(SHAPES, DTYPES))
    return "\n\n".join(f"{_heading(shape, dtype)}\n\n{as_table(rows)}" for shape, dtype, rows in tables if rows)


def _heading(shape: str, dtype: str) -> str:
    request, candidate, dim = SHAPES[shape]
    return f"`{shape}`: {request} vectors of the request and {candidate} of the candidate, of {dim} numbers; {dtype}:"


if __name__ == "__main__":
    main()
