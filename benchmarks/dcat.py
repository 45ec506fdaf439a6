r"""How much faster is DCAT than self-attention over [history, candidate], and how near to what the machine can do?

    ./run python -m benchmarks.dcat --quick --report dcat.json

The forms of `benchmarks/parts/speed/dcat_forms.py` run on the same weights, inputs and threads, taking turns; a figure
is the median over the repeats. The two slow forms score a sample of the candidates, because their time is proportional
to it.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.parts.speed.dcat_measure import DTYPES, SAMPLE, Shape, measure
from benchmarks.parts.speed.dcat_tables import sweep_tables
from benchmarks.parts.speed.meter import Meter
from benchmarks.parts.speed.performance import add_output_flags, keep_report, put_out
from pinfm.inference import keep_freed_memory

HEADLINE = Shape()
QUICK = (
    HEADLINE,
    Shape(attention_gate=True),
    Shape(users=8, candidates=100),
    Shape(mode="training", users=64, candidates=16),
    Shape(users=16, candidates=100),
    Shape(users=16, candidates=100, lengths="ragged"),
)
# A GPU wants many users at a time.
QUICK_ON = {"cpu": QUICK, "cuda": (*QUICK, Shape(users=64), Shape(mode="training", users=512, candidates=16))}


def main() -> None:
    """Measures the shapes asked for, prints them, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the headline and a few more rows, about a minute")
    parser.add_argument("--device", choices=list(SAMPLE), default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each form; the median counts")
    add_output_flags(parser)
    args = parser.parse_args()
    rows = []
    # A sweep's shapes have a process each: the heap that one leaves behind was up to 13 GiB, and grew with the next.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for shape in tqdm(QUICK_ON[args.device] if args.quick else list(sweep()), unit="shape", disable=None):
            rows += rows_of(shape, args) if args.quick else pool.submit(rows_of, shape, args).result()
            keep_report(args, {"rows": rows})
    section = "dcat" if args.quick else "dcat sweep"
    markdown = None if args.quick else sweep_tables(rows)
    put_out(args, section if args.device == "cpu" else f"{section} {args.device}", {"rows": rows}, markdown=markdown)


def rows_of(shape: Shape, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What was measured of one shape.

    Args:
        shape: what to run.
        args: the program's.
    """
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    # A processor without bf16 products takes two to three times as long in it: the headline shows that.
    bf16 = shape == HEADLINE or (not args.quick and torch.cpu.get_capabilities().get("avx512_bf16", False))
    precisions = list(DTYPES) if bf16 or args.device == "cuda" else ["fp32"]
    return measure(shape, precisions, args.repeats, Meter(args.device))


def sweep() -> Iterator[Shape]:
    """All shapes; training at the candidates that a training batch has."""
    for mode, lengths, history, candidates, users in product(
        ("inference", "training"), ("full", "ragged"), (64, 256, 512, 1024), (1, 10, 16, 100, 1000), (1, 8, 64)
    ):
        if mode == "inference" or candidates <= 16:
            yield Shape(mode=mode, lengths=lengths, history=history, candidates=candidates, users=users)


if __name__ == "__main__":
    main()
