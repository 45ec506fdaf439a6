r"""One request at a time through the exported file: how long it takes, and where the time goes.

    ./run python -m benchmarks.serving --report serving.json

A request is one user with 256 events and 1,000 candidates. The model has the paper's shapes (8 hashes of 32 columns, a
transformer of width 256, DCNv2) with random weights, which cost what trained ones cost. Every request holds other ids,
so that lookups miss the caches. The exported files in fp32 and in bf16, and the module of the first, take turns.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import trange

from benchmarks.parts.speed.performance import add_output_flags, put_out
from benchmarks.parts.speed.served_model import (
    CONFIG,
    SCHEMA,
    Inputs,
    random_request,
    random_tables,
    scoring_module,
    write_files,
)
from pinfm.inference import keep_freed_memory
from pinfm.inference.latency import percentiles
from pinfm.inference.module import ScoringModule
from pinfm.model import History, SequenceTower
from pinfm.model.config import RankerConfig
from pinfm.model.schema import Feature

# As many features as KuaiRand has.
MANY_FEATURES = replace(
    SCHEMA,
    features=(
        *(Feature(name=f"of_request_{i}", kind="categorical", scope="request") for i in range(28)),
        *(Feature(name=f"of_candidate_{i}", kind="categorical", scope="candidate") for i in range(7)),
        Feature(name="duration", kind="dense", scope="candidate"),
    ),
)
SCHEMAS = {"few": SCHEMA, "many": MANY_FEATURES}
# The paper's final form bought its latency back with a smaller MLP.
RANKERS = {
    "dot": RankerConfig(interaction="dot", over_hidden=(512, 256)),
    "dcn_v2": CONFIG.ranker,
    "pinterest_baseline": RankerConfig(interaction="pinterest_baseline", over_hidden=(512, 256)),
    "pinterest": RankerConfig(interaction="pinterest", over_hidden=(512, 256)),
    "pinterest, smaller MLP": RankerConfig(interaction="pinterest", over_hidden=(256, 128)),
}
# Operations of PyTorch by what they are; all others are pointwise or move data.
KINDS = {
    "matrix products": ("aten::addmm", "aten::mm", "aten::bmm", "aten::matmul", "aten::baddbmm", "mkldnn::"),
    "attention": ("aten::_scaled_dot_product",),
    "table lookups": ("aten::embedding", "aten::index_select"),
}
Scoring = Callable[[Inputs], Mapping[str, Tensor]]


def main() -> None:
    """Measures, prints tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="timed, of each file")
    parser.add_argument("--events", type=int, default=256)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each of the 8 item tables")
    parser.add_argument("--rankers", action="store_true", help="what each of some rankers takes of a request, instead")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    with torch.no_grad():
        if args.rankers:
            put_out(args, "serving rankers", {"rankers": [row for name in SCHEMAS for row in ranker_rows(name, args)]})
        else:
            put_out(args, "serving", serving_tables(args))


def serving_tables(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Latency of the exported files, and where the time of a request goes.

    Args:
        args: the program's.
    """

    def request() -> Inputs:
        return random_request(args.events, args.candidates)

    with tempfile.TemporaryDirectory() as folder:
        module, files = write_files(CONFIG, random_tables(SCHEMA, args.rows), args.events, Path(folder))
        loaded = {name: torch.jit.load(path) for name, path in files.items()}
        seconds = latencies({"module, fp32": module, **loaded}, request, args.requests)
        return {
            "latency": [{"file": name, **percentiles(times, args.candidates)} for name, times in seconds.items()],
            "stages": time_by_stage(module, request, args.requests),
            "operations": time_by_kind(loaded["exported, fp32"], request, max(1, args.requests // 10)),
            "context": [context_row(module, request())],
        }


def latencies(modules: Mapping[str, Scoring], request: Callable[[], Inputs], repeats: int) -> dict[str, list[float]]:
    """Seconds of each request, the modules taking turns on the same ones.

    Args:
        modules: what to time.
        request: makes one.
        repeats: how many; three more come first and are not timed, because TorchScript optimises as it runs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for i in trange(repeats + 3, unit="request", disable=None):
        inputs = request()
        for name, module in modules.items():
            start = time.perf_counter()
            module(inputs)
            if i >= 3:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def time_by_stage(module: ScoringModule, request: Callable[[], Inputs], repeats: int) -> list[dict[str, Any]]:
    """Mean milliseconds and share of each stage of the module, which runs the operations that the file runs."""
    encoder, ranker = module.model.encoder, module.model.ranker
    stages = {
        "item lookups": (module.item_tables, "forward"),
        "feature lookups": (module, "_features"),
        "tokens of the history": (encoder.tokens, "events"),
        "transformer over the history": (encoder.fusion, "encode"),
        "tokens of the candidates": (encoder.tokens, "candidates"),
        "crossing": (encoder.fusion, "forward"),
        "output head of the tower": (encoder.phi_out, "forward"),
        "interactions and heads": (ranker, "forward"),
    }
    seconds: dict[str, float] = defaultdict(float)
    total = 0.0
    with watched(stages, seconds):
        for _ in range(repeats):
            inputs = request()
            start = time.perf_counter()
            module(inputs)
            total += time.perf_counter() - start
    seconds["the rest"] = total - sum(seconds.values())
    return [{"stage": name, "ms": 1e3 * s / repeats, "share": s / total} for name, s in seconds.items()]


@contextmanager
def watched(stages: Mapping[str, tuple[nn.Module, str]], seconds: dict[str, float]) -> Iterator[None]:
    """Adds up the time spent in some methods while the context is open."""

    def timed(stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            start = time.perf_counter()
            result = method(*args)
            seconds[stage] += time.perf_counter() - start
            return result

        return call

    patches = [
        patch.object(module, name, timed(stage, getattr(module, name))) for stage, (module, name) in stages.items()
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def ranker_rows(features: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """What each ranker takes of the same requests, whole modules taking turns.

    Args:
        features: key of SCHEMAS.
        args: the program's.
    """
    schema = SCHEMAS[features]
    tables = random_tables(schema, args.rows)
    of_rankers: dict[str, list[float]] = {name: [] for name in RANKERS}

    def watching(name: str, module: ScoringModule, inputs: Inputs) -> Mapping[str, Tensor]:
        seconds: dict[str, float] = defaultdict(float)
        with watched({name: (module.model.ranker, "forward")}, seconds):
            scores: Mapping[str, Tensor] = module(inputs)
        of_rankers[name].append(seconds[name])
        return scores

    def request() -> Inputs:
        return random_request(args.events, args.candidates, schema)

    modules: dict[str, Scoring] = {}
    for name, ranker in RANKERS.items():
        module = scoring_module(replace(CONFIG, ranker=ranker), schema, tables, args.events, torch.float32)
        modules[name] = partial(watching, name, module)
    rows = []
    for name, whole in latencies(modules, request, args.requests).items():
        # The first requests are not timed.
        of_ranker = of_rankers[name][-len(whole) :]
        share = statistics.median(part / total for part, total in zip(of_ranker, whole, strict=True))
        times = {"p50_ms": 1e3 * statistics.median(whole), "of it the ranker, ms": 1e3 * statistics.median(of_ranker)}
        rows.append({"features": features, "ranker": name, **times, "share": share})
    return rows


def time_by_kind(module: Scoring, request: Callable[[], Inputs], repeats: int) -> list[dict[str, Any]]:
    """Share of the time that each kind of operation takes in the exported file."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(repeats):
            module(request())
    spent: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key.startswith(names)), event.key)
        spent[kind] += event.self_cpu_time_total
    total = sum(spent.values())
    others = sorted(spent.keys() - KINDS.keys(), key=lambda kind: -spent[kind])[:7]
    rows = [{"operations": kind, "share": spent[kind] / total} for kind in [*KINDS, *others]]
    return [*rows, {"operations": "all others", "share": 1 - sum(row["share"] for row in rows)}]


def context_row(module: ScoringModule, inputs: Inputs) -> dict[str, float]:
    """What a server holds of a user whose history it encoded and kept."""
    history = History(*(inputs[f"history_{name}"] for name in History._fields))
    kept = SequenceTower(module.item_tables, module.model.encoder).encode_context(history)
    return {"events of a user": len(history.item_id), "cached context, MiB": kept.num_bytes() / 2**20}


if __name__ == "__main__":
    main()
