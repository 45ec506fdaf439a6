r"""What the dense part in fewer bits gives and costs: time of a request and of one layer, and AUC of real runs.

    ./run python -m benchmarks.dense_precision --write
    ./run python -m benchmarks.dense_precision --runs quickstart=runs/quickstart/fused,runs/quickstart/dataset --write

The request of the first is that of `benchmarks.serving`: one user, 256 events, 1,000 candidates, random weights. The
exported files take turns on the same requests: on one thread by the thread's CPU time, the median of all; on two by the
clock, the fastest. A run of the second is exported in int8, whatever that costs, and scores the test split of its
dataset, of which `pinfm evaluate` says what the run itself gives.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import trange

from benchmarks.parts.pages import RESULTS
from benchmarks.parts.speed.packed_forms import layer_forms, write_dense_files
from benchmarks.parts.speed.performance import add_output_flags, put_out
from benchmarks.parts.speed.served_model import SCHEMA, Inputs, random_request, random_tables
from pinfm.inference import keep_freed_memory
from pinfm.inference.folders import MANIFEST
from pinfm.inference.parity import PARTS, auc, auc_change, jackknife_error
from pinfm.train.cli.main import main as pinfm
from pinfm.train.comparison.report.markdown import table

SECTION = "dense precision"
# Widths in and out of the layers of a block's MLP.
LAYERS = ((256, 1024), (1024, 256))
BASELINE = "fp32"


def main() -> None:
    """Measures, prints tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", help="NAME=RUN,DATASET: exported and scored, in place of the timing")
    parser.add_argument("--requests", type=int, default=100, help="timed, of each file")
    parser.add_argument("--events", type=int, default=256)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each of the 8 item tables")
    add_output_flags(parser)
    args = parser.parse_args()
    if args.runs:
        rows = [row for given in args.runs for row in quality_rows(*parsed(given))]
        put_out(args, SECTION, {"runs": rows}, RESULTS, quality_table(rows))
        return
    keep_freed_memory()
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of quantize_dynamic
        warnings.simplefilter("ignore", UserWarning)
        layers = [row for widths in LAYERS for row in layer_rows(*widths, args, Path(folder))]
        put_out(args, SECTION, {"files": file_rows(args, Path(folder)), "layers": layers})


def file_rows(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row an exported file: requests of one size, then of sizes that most files have not met before.

    Args:
        args: the program's.
        folder: for the files.
    """
    paths = write_dense_files(random_tables(SCHEMA, args.rows), args.events, args.candidates, folder)
    files = {name: torch.jit.load(path) for name, path in paths.items()}

    def request() -> Inputs:
        return random_request(args.events, args.candidates)

    def of_any_size() -> Inputs:
        return random_request(args.events, int(torch.randint(args.candidates // 2, args.candidates + 1, ())))

    columns = {
        "cpu_ms": turns(files, request, args.requests, time.thread_time, threads=1),
        "any size, cpu_ms": turns(files, of_any_size, args.requests, time.thread_time, threads=1),
        # The clock sees what else the machine does: the fastest request is the one that was disturbed least.
        "two threads, ms": turns(files, request, args.requests, time.perf_counter, threads=2, of=min),
    }
    inputs = request()
    scores = {name: torch.stack(list(file(inputs).values())) for name, file in files.items()}
    rows = []
    for name in files:
        row: dict[str, Any] = {"file": name, "MB": paths[name].stat().st_size / 1e6}
        for told, found in columns.items():
            row |= {told: found[name], f"x {told.split(',')[0]}": found[BASELINE] / found[name]}
        rows.append({**row, "max_abs_diff": float((scores[name] - scores[BASELINE]).abs().max())})
    return rows


def layer_rows(inputs: int, outputs: int, args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row a form of a layer with GELU behind it, over as many rows as a request has candidates.

    Args:
        inputs: width of what comes in.
        outputs: width of what comes out.
        args: the program's.
        folder: for files of packed layers.
    """
    torch.manual_seed(0)
    forms = layer_forms(nn.Linear(inputs, outputs), torch.randn(args.candidates, inputs), folder)
    calls = {name: _without_inputs(form) for name, form in forms.items()}
    found = turns(calls, dict, args.requests, time.thread_time, threads=1)
    return [
        {"layer": f"{inputs} to {outputs}", "form": name, "cpu_ms": found[name], "x": found[BASELINE] / found[name]}
        for name in forms
    ]


def turns(
    calls: Mapping[str, Callable[[Inputs], Any]],
    request: Callable[[], Inputs],
    repeats: int,
    clock: Callable[[], float],
    threads: int,
    of: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Milliseconds of each, all taking turns on the same requests.

    Args:
        calls: what to time.
        request: makes one.
        repeats: how many; three more come first and are not timed, because TorchScript optimises as it runs.
        clock: in seconds.
        threads: to compute on.
        of: all requests' seconds, what is told.
    """
    torch.set_num_threads(threads)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in trange(repeats + 3, unit="request", disable=None):
        inputs = request()
        for name, call in calls.items():
            start = clock()
            call(inputs)
            if i >= 3:
                seconds[name].append(clock() - start)
    return {name: 1e3 * of(times) for name, times in seconds.items()}


def _without_inputs(form: Callable[[], Tensor]) -> Callable[[Inputs], Tensor]:
    return lambda _inputs: form()


def parsed(given: str) -> tuple[str, Path, Path]:
    """`NAME=RUN,DATASET`.

    Raises:
        ValueError: it is none.
    """
    name, _, paths = given.partition("=")
    run, _, dataset = paths.partition(",")
    if not (name and run and dataset):
        raise ValueError(f"--runs {given} is no NAME=RUN,DATASET")
    return name, Path(run), Path(dataset)


def quality_rows(name: str, run: Path, dataset: Path) -> list[dict[str, Any]]:
    """A row a task: AUC on the test split of the run itself, and of its export in int8.

    Args:
        name: of the data.
        run: of `pinfm finetune`.
        dataset: what it was trained on.
    """
    with tempfile.TemporaryDirectory() as folder:
        model, theirs, ours = (Path(folder) / name for name in ("model", "run.parquet", "model.parquet"))
        pinfm(["export", str(run), "--out", str(model), "--dense-precision", "int8", "--max-auc-loss", "1"])
        pinfm(["evaluate", str(run), "--data", str(dataset), "--retrieval", "false", "--predictions", str(theirs)])
        pinfm(["score", str(model), "--data", str(dataset), "--out", str(ours)])
        whole, rounded = pd.read_parquet(theirs), pd.read_parquet(ours)
        manifest = json.loads((model / MANIFEST).read_text())
    pair = ["request_id", "item_id"]
    order = [frame.sort_values(pair, kind="stable", ignore_index=True) for frame in (whole, rounded)]
    if not order[0][pair].equals(order[1][pair]):
        raise ValueError(f"{run} and its export did not score the same candidates")
    whole, rounded = order
    part_N = pd.factorize(whole["request_id"])[0] * PARTS // whole["request_id"].nunique()
    layers = [layer["precision"] for layer in manifest["dense_layers"].values()]
    rows = []
    for task, of_kept in manifest["parity"]["auc_change"].items():
        scores = [frame[task].to_numpy(np.float32) for frame in (rounded, whole)]
        labels = whole[f"label_{task}"].to_numpy(np.float32)
        before, after = auc(scores[1], labels), auc(scores[0], labels)
        row = {"data": name, "task": task, "candidates": len(whole), "auc_fp32": before, "auc_int8": after}
        row |= {"auc_change": auc_change(*scores, labels), "auc_change_error": jackknife_error(*scores, labels, part_N)}
        row |= {"of_kept_requests": of_kept, "layers": len(layers), "layers_int8": layers.count("int8")}
        rows.append({**row, "max_abs_diff": float(np.abs(scores[0] - scores[1]).max())})
    return rows


def quality_table(rows: list[dict[str, Any]]) -> str:
    """A line a task."""
    lines = []
    for row in rows:
        whole, rounded = (
            "one class alone" if row[key] is None else f"{row[key]:.4f}" for key in ("auc_fp32", "auc_int8")
        )
        change = "one class alone" if row["auc_change"] is None else f"{row['auc_change']:+.0e}"
        if row["auc_change_error"] is not None:
            change += f" ± {row['auc_change_error']:.0e}"
        layers = f"{row['layers_int8']} of {row['layers']}"
        difference = f"{row['max_abs_diff']:.1g}"
        lines.append([row["data"], row["task"], str(row["candidates"]), layers, whole, rounded, change, difference])
    heading = ["data", "task", "candidates", "layers in int8", "AUC, fp32", "AUC, int8", "change"]
    return table([*heading, "largest difference of a probability"], lines)


if __name__ == "__main__":
    main()
