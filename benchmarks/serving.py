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
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from tqdm import trange

from benchmarks.parts.speed.performance import add_output_flags, put_out
from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.embeddings.specs import IdTable
from pinfm.inference import keep_freed_memory
from pinfm.inference.export import DENSE_DTYPES, save_module
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.model import History, SequenceTower
from pinfm.model.config import ModelConfig, RankerConfig, TowerConfig
from pinfm.model.ranking.joint import build_model
from pinfm.model.schema import Feature, InputSchema
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES

CONFIG = ModelConfig(
    tower=TowerConfig(num_layers=6, dim=256, num_heads=8, out_dim=256, dropout=0.0),
    ranker=RankerConfig(interaction="dcn_v2", over_hidden=(512, 256)),
)
SCHEMA = InputSchema(
    actions=("click", "save", "hide"),
    positive_actions=("click", "save"),
    surfaces=("home", "search"),
    tasks=("click", "save", "hide"),
    features=(
        Feature(name="author", kind="categorical", scope="candidate"),
        Feature(name="country", kind="categorical", scope="request"),
        Feature(name="hour", kind="dense", scope="request"),
        Feature(name="duration", kind="dense", scope="candidate"),
    ),
)
NUM_HASHES, TABLE_DIM, FEATURE_DIM, FEATURE_ROWS = 8, 32, 32, 100_000
NOW = 2_000_000_000
# Operations of PyTorch by what they are; all others are pointwise or move data.
KINDS = {
    "matrix products": ("aten::addmm", "aten::mm", "aten::bmm", "aten::matmul", "aten::baddbmm", "mkldnn::"),
    "attention": ("aten::_scaled_dot_product",),
    "table lookups": ("aten::embedding", "aten::index_select"),
}
Inputs = dict[str, Tensor]
Scoring = Callable[[Inputs], Mapping[str, Tensor]]


def main() -> None:
    """Measures, prints four tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="timed, of each file")
    parser.add_argument("--events", type=int, default=256)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each of the 8 item tables")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(0)

    def request() -> Inputs:
        return random_request(args.events, args.candidates)

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        module, files = write_files(args.rows, args.events, Path(folder))
        loaded = {name: torch.jit.load(path) for name, path in files.items()}
        seconds = latencies({"module, fp32": module, **loaded}, request, args.requests)
        stages = time_by_stage(module, request, args.requests)
        kinds = time_by_kind(loaded["exported, fp32"], request, max(1, args.requests // 10))
        context = context_row(module, request())
    latency = [latency_row(name, times, args.candidates) for name, times in seconds.items()]
    put_out(args, "serving", {"latency": latency, "stages": stages, "operations": kinds, "context": [context]})


def write_files(rows: int, events: int, folder: Path) -> tuple[ScoringModule, dict[str, Path]]:
    """A module in fp32, its file, and the file of one like it in bf16.

    Args:
        rows: of each item table.
        events: of the longest history.
        folder: for the files.
    """
    items = random_table(IdTable(name="item", num_hashes=NUM_HASHES, rows=rows, dim=TABLE_DIM), ITEM_TABLES)
    names = ["user_id", *(f.name for f in SCHEMA.features if f.kind == "categorical")]
    features = {
        name: random_table(IdTable(name=name, num_hashes=2, rows=FEATURE_ROWS, dim=FEATURE_DIM // 2), FEATURE_TABLES)
        for name in names
    }
    checks = InputChecks(input_columns(SCHEMA), events)
    modules = {
        name: ScoringModule(
            build_model(CONFIG, SCHEMA, items.dim, FEATURE_DIM),
            items,
            features,
            SCHEMA,
            checks,
            dtype,
        ).eval()
        for name, dtype in DENSE_DTYPES.items()
    }
    files = {f"exported, {name}": folder / f"{name}.pt" for name in modules}
    for module, path in zip(modules.values(), files.values(), strict=True):
        save_module(module, path)
    return modules["fp32"], files


def random_table(table: IdTable, collection: str) -> ServedTable:
    """A table with rows as new ones are."""
    served = ServedTable(table, "fp32", collection)
    for name in served.names:
        served.place(name, torch.empty(table.rows, table.dim).uniform_(*init_range(table)))
    return served


def random_request(events: int, candidates: int) -> Inputs:
    """The inputs of one request with ids that have not been seen before."""

    def ids(size: int) -> Tensor:
        return torch.empty(size, dtype=torch.int64).random_(-(2**63), None)

    return {
        "user_id": ids(1),
        "request_timestamp": torch.tensor([NOW]),
        "history_lengths": torch.tensor([events]),
        "history_item_id": ids(events),
        "history_action": torch.randint(1, 4, (events,)),
        "history_surface": torch.randint(1, 3, (events,)),
        "history_timestamp": (NOW - torch.randint(1, 10**7, (events,))).sort().values,
        "candidate_lengths": torch.tensor([candidates]),
        "candidate_item_id": ids(candidates),
        "candidate_created_at": NOW - torch.randint(1, 10**7, (candidates,)),
        "author": ids(candidates),
        "country": ids(1),
        "hour": torch.rand(1),
        "duration": torch.rand(candidates),
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


def latency_row(name: str, seconds: list[float], candidates: int) -> dict[str, Any]:
    """p50, p99 and rate of one module."""
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    rate = candidates / statistics.mean(seconds)
    return {"file": name, "p50_ms": float(p50), "p99_ms": float(p99), "candidates_per_s": rate}


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
