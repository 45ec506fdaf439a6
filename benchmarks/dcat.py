r"""How much faster is DCAT than self-attention over [history, candidate], and how near to what the machine can do?

    uv run --extra cpu python -m benchmarks.dcat --quick --report dcat.json

The forms of `benchmarks/parts/dcat_forms.py` run on the same weights, inputs and threads, taking turns; a figure
is the median over the repeats. The two slow forms score a sample of the candidates, because their time is proportional
to it.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.parts.dcat_forms import Form, Rows, form_of, needed_flops
from benchmarks.parts.performance import add_output_flags, give_back_memory, put_out
from pinfm.model.config import TowerConfig
from pinfm.model.encoder import build_dcat

TOWER = TowerConfig(num_layers=6, dim=256, num_heads=8, dropout=0.0)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Candidates that a form scores at a time: more would cost minutes or gigabytes and change nothing per candidate.
SAMPLE = {"self_attention": 16, "copied": 64, "grouped": None, "exported": None}
IMPLS = {"inference": list(SAMPLE), "training": ["self_attention", "copied", "grouped"]}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One setting of the sweep.

    Args:
        mode: `inference`, or `training` for forward and backward.
        lengths: `full`, or `ragged` for histories and candidate counts with a long tail below the maximum.
        history: most events of a user.
        candidates: most candidates of a user.
        users: in the batch.
    """

    mode: str = "inference"
    lengths: str = "full"
    history: int = 256
    candidates: int = 1000
    users: int = 1


HEADLINE = Shape()
QUICK = (
    HEADLINE,
    Shape(users=8, candidates=100),
    Shape(mode="training", users=64, candidates=16),
    Shape(users=16, candidates=100),
    Shape(users=16, candidates=100, lengths="ragged"),
)


@dataclass
class Measured:
    """What was seen of one form at one precision.

    Args:
        form: what runs.
        rows: its input.
        seconds: of each repeat.
        output: (N, D) of the first repeat.
        peak_mib: memory above what was held before, of the first repeat.
    """

    form: Form
    rows: Rows
    seconds: list[float] = field(default_factory=list)
    output: Tensor | None = None
    peak_mib: float = 0.0


def main() -> None:
    """Measures the shapes asked for, prints them, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the headline and four more rows, under a minute")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each form; the median counts")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for shape in tqdm(QUICK if args.quick else list(sweep()), unit="shape", disable=None):
        # Without bf16 products of its own a processor takes two to three times as long: the headline shows it.
        bf16 = shape == HEADLINE or (torch.cpu.get_capabilities().get("avx512_bf16", False) and not args.quick)
        precisions = list(DTYPES) if bf16 else ["fp32"]
        rows += measure(shape, precisions, args.repeats)
    put_out(args, "dcat" if args.quick else "dcat sweep", {"rows": rows})


def sweep() -> Iterator[Shape]:
    """All shapes; training at the candidates that a training batch has."""
    for mode, lengths, history, candidates, users in product(
        ("inference", "training"), ("full", "ragged"), (64, 256, 512, 1024), (1, 10, 16, 100, 1000), (1, 8, 64)
    ):
        if mode == "inference" or candidates <= 16:
            yield Shape(mode=mode, lengths=lengths, history=history, candidates=candidates, users=users)


def measure(shape: Shape, precisions: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """The report's rows of one shape: every form at these precisions.

    Args:
        shape: what to run.
        precisions: keys of `DTYPES`; the ratios are to self-attention in the first, which is fp32.
        repeats: turns that each form has.
    """
    torch.manual_seed(0)
    weights = build_dcat(TOWER).eval()
    dcats = {dtype: copy.deepcopy(weights).to(DTYPES[dtype]) for dtype in precisions}
    all_rows = random_rows(shape)
    seen = {}
    for dtype, impl in product(precisions, IMPLS[shape.mode]):
        rows = sample(all_rows, SAMPLE[impl], DTYPES[dtype])
        seen[dtype, impl] = Measured(form_of(impl, dcats[dtype], rows), rows)
    peak: dict[str, list[float]] = {dtype: [] for dtype in precisions}
    for _ in range(repeats):
        for dtype in precisions:
            peak[dtype].append(product_flops(DTYPES[dtype]))
        for (dtype, _), measured in seen.items():
            run_once(measured, shape.mode)
            dcats[dtype].zero_grad()
    rates = {key: len(m.rows.candidates) / statistics.median(m.seconds) for key, m in seen.items()}
    report = []
    for (dtype, impl), measured in seen.items():
        seconds = statistics.median(measured.seconds)
        needed = needed_flops(measured.rows, TOWER.dim, TOWER.num_layers) * (3 if shape.mode == "training" else 1)
        report.append(
            {
                "mode": shape.mode,
                "dtype": dtype,
                **{name: value for name, value in asdict(shape).items() if name != "mode"},
                "impl": impl,
                "candidates_per_s": rates[dtype, impl],
                "tokens_per_s": (len(measured.rows.events) + len(measured.rows.candidates)) / seconds,
                "ratio_to_self_attention": rates[dtype, impl] / rates["fp32", "self_attention"],
                # The slow forms compute far more than is needed.
                "share_of_peak": needed / seconds / statistics.median(peak[dtype]) if SAMPLE[impl] is None else None,
                "peak_mib": measured.peak_mib,
                "max_rel_diff": largest_difference(measured, seen["fp32", "self_attention"]),
            }
        )
    return report


def random_rows(shape: Shape) -> Rows:
    """Random tokens; ragged lengths are a log-normal share of the shape's, with a median of a quarter, at most all."""
    share = torch.ones(2, shape.users)
    if shape.lengths == "ragged":
        share = (torch.randn(2, shape.users) - 1.4).exp().clamp(max=1.0)
    lengths_U, counts_U = ((part * most).ceil().long() for part, most in zip(share, _most(shape), strict=True))
    events, candidates = (torch.randn(int(n.sum()), TOWER.dim) for n in (lengths_U, counts_U))
    return Rows(events, lengths_U, candidates, counts_U)


def sample(rows: Rows, most: int | None, dtype: torch.dtype) -> Rows:
    """The first candidates of the first users, as many as a form scores at a time."""
    events, lengths_U, candidates, counts_U = rows
    if most is not None:
        before_U = counts_U.cumsum(0) - counts_U
        counts_U = (most - before_U).clamp(min=0).minimum(counts_U)
        lengths_U, counts_U = lengths_U[counts_U > 0], counts_U[counts_U > 0]
    return Rows(events[: lengths_U.sum()].to(dtype), lengths_U, candidates[: counts_U.sum()].to(dtype), counts_U)


def run_once(measured: Measured, mode: str) -> None:
    """One turn of one form, timed."""
    rows = measured.rows
    if mode == "training":
        rows = rows._replace(events=rows.events.requires_grad_(), candidates=rows.candidates.requires_grad_())
    with torch.set_grad_enabled(mode == "training"):
        held = _reset_peak()
        start = time.perf_counter()
        output = measured.form(rows)
        if mode == "training":
            output.float().square().mean().backward()
        measured.seconds.append(time.perf_counter() - start)
    if measured.output is None:
        measured.output, measured.peak_mib = output.detach().float(), _peak_mib() - held


def product_flops(dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the machine's practical peak."""
    a, b = torch.randn(2, 2048, 2048).to(dtype)
    start = time.perf_counter()
    a @ b
    return 2.0 * 2048**3 / (time.perf_counter() - start)


def largest_difference(measured: Measured, reference: Measured) -> float:
    """The largest difference on the candidates that both scored, relative to the largest value."""
    assert measured.output is not None
    assert reference.output is not None
    n = min(len(measured.output), len(reference.output))
    difference = (measured.output[:n] - reference.output[:n]).abs().max()
    return float(difference / reference.output[:n].abs().max())


def _most(shape: Shape) -> Iterable[int]:
    return shape.history, shape.candidates


def _reset_peak() -> float:
    """Sets the kernel's record of this process's peak memory back; MiB held now."""
    give_back_memory()
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
