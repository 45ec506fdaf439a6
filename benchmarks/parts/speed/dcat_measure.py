"""Times the forms of DCAT at one shape, taking turns, and compares what they give."""

import copy
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.parts.speed.dcat_forms import Form, Rows, form_of, needed_flops
from benchmarks.parts.speed.meter import Meter
from pinfm.model.config import TowerConfig
from pinfm.model.encoder import build_dcat

TOWER = TowerConfig(num_layers=6, dim=256, num_heads=8, dropout=0.0)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Candidates that a form scores at a time: more would cost minutes or gigabytes and change nothing per candidate.
SAMPLE: dict[str, dict[str, int | None]] = {
    "cpu": {"self_attention": 16, "copied": 64, "grouped": None, "exported": None},
    "cuda": {"self_attention": 2048, "copied": 4096, "grouped": None, "exported": None, "graphed": None},
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One setting of the sweep.

    Args:
        mode: `inference`, or `training` for forward and backward.
        lengths: `full`, or `ragged` for histories and candidate counts with a long tail below the maximum.
        history: most events of a user.
        candidates: most candidates of a user.
        users: in the batch.
        attention_gate: whether the blocks gate what attention returns.
    """

    mode: Literal["inference", "training"] = "inference"
    lengths: Literal["full", "ragged"] = "full"
    history: int = 256
    candidates: int = 1000
    users: int = 1
    attention_gate: bool = False


@dataclass
class Measured:
    """What was seen of one form at one precision.

    Args:
        form: what runs.
        rows: its input.
        seconds: of each repeat.
        output: (N, D) of a first turn that is not timed.
        peak_mib: memory of making the form and of that turn, above what was held before.
    """

    form: Form
    rows: Rows
    seconds: list[float] = field(default_factory=list)
    output: Tensor | None = None
    peak_mib: float = 0.0


def measure(shape: Shape, precisions: Sequence[str], repeats: int, meter: Meter) -> list[dict[str, Any]]:
    """The report's rows of one shape: every form at these precisions.

    Args:
        shape: what to run.
        precisions: keys of `DTYPES`; the ratios are to self-attention in the first, which is fp32.
        repeats: turns that each form has.
        meter: of the device to run on.
    """
    torch.manual_seed(0)
    tower = replace(TOWER, attention_gate=shape.attention_gate)
    dcat = build_dcat(tower).eval()
    dcats = {dtype: copy.deepcopy(dcat).to(meter.device, DTYPES[dtype]) for dtype in precisions}
    all_rows, samples = random_rows(shape), SAMPLE[meter.device]
    seen: dict[tuple[str, str], Measured] = {}
    for dtype, impl in product(precisions, impls(shape, meter.device)):
        rows = moved(sample(all_rows, samples[impl]), meter.device, DTYPES[dtype])
        dcats[dtype].zero_grad()
        held = meter.reset_peak()
        measured = Measured(form_of(impl, dcats[dtype], rows), rows)
        measured.output = run_once(measured, shape.mode).detach().float()
        measured.peak_mib = meter.peak_mib() - held
        seen[dtype, impl] = measured
    peak: dict[str, list[float]] = {dtype: [] for dtype in precisions}
    for _ in range(repeats):
        for dtype in precisions:
            peak[dtype].append(meter.product_flops(DTYPES[dtype]))
        for (dtype, _), measured in seen.items():
            dcats[dtype].zero_grad()
            start = meter.now()
            run_once(measured, shape.mode)
            measured.seconds.append(meter.now() - start)
    events = events_of_a_candidate(all_rows)
    rates = {
        # What a form computes for a candidate is proportional to the rows that it reads.
        key: len(m.rows.candidates) / statistics.median(m.seconds) * (events_of_a_candidate(m.rows) + 1) / (events + 1)
        for key, m in seen.items()
    }
    report = []
    for (dtype, impl), measured in seen.items():
        seconds = statistics.median(measured.seconds)
        needed = needed_flops(measured.rows, tower) * (3 if shape.mode == "training" else 1)
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
                "share_of_peak": needed / seconds / statistics.median(peak[dtype]) if samples[impl] is None else None,
                "peak_mib": measured.peak_mib,
                "max_rel_diff": largest_difference(measured, seen["fp32", "self_attention"]),
            }
        )
    return report


def impls(shape: Shape, device: str) -> list[str]:
    """The forms that can run a shape: TorchScript and graphs have no backward pass, graphs hold one length."""
    forms = list(SAMPLE[device])
    if shape.mode == "training":
        return [form for form in forms if form not in ("exported", "graphed")]
    return [form for form in forms if form != "graphed" or shape.lengths == "full"]


def random_rows(shape: Shape) -> Rows:
    """Random tokens; ragged lengths are a log-normal share of the shape's, with a median of a quarter, at most all."""
    share = torch.ones(2, shape.users)
    if shape.lengths == "ragged":
        share = (torch.randn(2, shape.users) - 1.4).exp().clamp(max=1.0)
    most = (shape.history, shape.candidates)
    lengths_U, counts_U = ((part * size).ceil().long() for part, size in zip(share, most, strict=True))
    events, candidates = (torch.randn(int(n.sum()), TOWER.dim) for n in (lengths_U, counts_U))
    return Rows(events, lengths_U, candidates, counts_U)


def sample(rows: Rows, most: int | None) -> Rows:
    """The first candidates of the first users, as many as a form scores at a time."""
    events, lengths_U, candidates, counts_U = rows
    if most is not None:
        before_U = counts_U.cumsum(0) - counts_U
        counts_U = (most - before_U).clamp(min=0).minimum(counts_U)
        lengths_U, counts_U = lengths_U[counts_U > 0], counts_U[counts_U > 0]
    return Rows(events[: lengths_U.sum()], lengths_U, candidates[: counts_U.sum()], counts_U)


def events_of_a_candidate(rows: Rows) -> float:
    """The mean length of the candidates' histories."""
    return float((rows.event_lengths * rows.candidate_lengths).sum() / rows.candidate_lengths.sum())


def moved(rows: Rows, device: str, dtype: torch.dtype) -> Rows:
    """The rows on a device, their tokens in a precision."""
    events, lengths_U, candidates, counts_U = rows
    return Rows(events.to(device, dtype), lengths_U.to(device), candidates.to(device, dtype), counts_U.to(device))


def run_once(measured: Measured, mode: str) -> Tensor:
    """One turn of one form, its backward pass included where it has one."""
    rows = measured.rows
    if mode == "training":
        events, candidates = (x.detach().requires_grad_() for x in (rows.events, rows.candidates))
        rows = rows._replace(events=events, candidates=candidates)
    with torch.set_grad_enabled(mode == "training"):
        output = measured.form(rows)
        if mode == "training":
            output.float().square().mean().backward()
    return output


def largest_difference(measured: Measured, reference: Measured) -> float:
    """The largest difference on the candidates that both scored, relative to the largest value."""
    assert measured.output is not None
    assert reference.output is not None
    n = min(len(measured.output), len(reference.output))
    difference = (measured.output[:n] - reference.output[:n]).abs().max()
    return float(difference / reference.output[:n].abs().max())
