r"""The dense model compiled ahead of time beside the TorchScript module: how long a request takes, and what it costs.

    ./run python -m benchmarks.aoti --threads 1 --run runs/quickstart/fused --write

The model has the paper's shapes, as in `benchmarks.serving`. All forms check, look up and score the same requests in
turns, in one process; what is told is processor time, which neighbours on the machine disturb little. With --run, a
fine-tuned run is exported with packages, and the requests that it kept are scored by trainer, TorchScript and packages.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import trange

from benchmarks.parts.speed.performance import add_output_flags, put_out
from benchmarks.parts.speed.served_model import CONFIG, SCHEMA, Inputs, random_request, random_tables, scoring_module
from pinfm.inference import keep_freed_memory
from pinfm.inference.aoti.build import bounds_of, compile_stage, stages_of
from pinfm.inference.aoti.load import manifest_of
from pinfm.inference.aoti.packages import Packages
from pinfm.inference.aoti.pieces import Pieces
from pinfm.inference.export import export, save_module
from pinfm.inference.module import ScoringModule
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import kept_requests
from pinfm.model.stored.run_folder import RunFolder

# Users, and candidates of each; histories are full.
REQUESTS = ((1, 1000), (8, 100), (1, 10))
WARM_UP = 3
# Name -> whether weights are packed.
FORMS = {"compiled": True, "compiled, weights not packed": False}
Scoring = Callable[[Inputs], Mapping[str, Tensor]]


def main() -> None:
    """Measures, prints tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=30, help="timed, of each form and shape")
    parser.add_argument("--events", type=int, default=256)
    parser.add_argument("--rows", type=int, default=100_000, help="of each of the 8 item tables")
    parser.add_argument("--run", type=Path, help="a fine-tuned run, to compare on its kept requests")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    found = {} if args.run is None else {"parity": [parity_row(args.run)]}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        module = scoring_module(CONFIG, SCHEMA, random_tables(SCHEMA, args.rows), args.events, torch.float32)
        compiled = {form: packages_of(module, Path(folder), form) for form in FORMS}
        path = Path(folder) / "scoring.pt"
        save_module(module, path)
        forms: dict[str, Scoring] = {"TorchScript": torch.jit.load(path)}
        forms |= {form: packages for form, (packages, _) in compiled.items()}
        speed = [
            row for users, candidates in REQUESTS for row in speed_rows(forms, users, args.events, candidates, args)
        ]
    put_out(args, "aoti", {"speed": speed, "packages": [row for _, rows in compiled.values() for row in rows], **found})


def packages_of(module: ScoringModule, folder: Path, form: str) -> tuple[Packages, list[dict[str, Any]]]:
    """A compiled form, and what each package takes to make and to keep."""
    bounds, loaded, rows = bounds_of(module.checks.max_history), {}, []
    for name, stage in stages_of(module, bounds).items():
        before = processor_seconds()
        path = folder / f"{form} {name}.pt2"
        compile_stage(stage, path, packed=FORMS[form])
        seconds = processor_seconds() - before
        rows.append(
            {"form": form, "package": name, "compile, s of a processor": seconds, "MB": path.stat().st_size / 1e6}
        )
        loaded[name] = torch._inductor.aoti_load_package(str(path))
    return Packages(torch.jit.script(module), torch.jit.script(Pieces(bounds, has_tower=True)), loaded), rows


def processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def speed_rows(
    forms: Mapping[str, Scoring], users: int, events: int, candidates: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Milliseconds of a request's processor time, the forms taking turns on the same ones.

    Args:
        forms: what is timed.
        users: of a request.
        events: of each user.
        candidates: of each user.
        args: the program's.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    difference = dict.fromkeys(forms, 0.0)
    for i in trange(args.requests + WARM_UP, desc=f"{users} x {candidates}", unit="request", disable=None):
        inputs = joined([random_request(events, candidates) for _ in range(users)])
        scores = {}
        for name, scoring in forms.items():
            start = time.process_time()
            scores[name] = torch.stack(list(scoring(inputs).values()))
            if i >= WARM_UP:
                seconds[name].append(time.process_time() - start)
        for name, found in scores.items():
            difference[name] = max(difference[name], float((found - scores["TorchScript"]).abs().max()))
    first = statistics.median(seconds["TorchScript"])
    return [
        {
            "users": users,
            "candidates of each": candidates,
            "form": name,
            "processor ms, median": 1e3 * statistics.median(times),
            "times as fast as TorchScript": first / statistics.median(times),
            "largest difference": difference[name],
        }
        for name, times in seconds.items()
    ]


def joined(requests: list[Inputs]) -> Inputs:
    """One batch of several."""
    return {name: torch.cat([request[name] for request in requests]) for name in requests[0]}


def parity_row(run: Path) -> dict[str, Any]:
    """How far trainer, TorchScript and packages are from each other on a run's kept requests."""
    with tempfile.TemporaryDirectory() as folder:
        export(run, Path(folder) / "model", ExportOptions(format="torchscript,aoti"))
        parity = manifest_of(Path(folder) / "model")["parity"]
        requests = kept_requests(RunFolder.open(run))
    return {"kept requests": len(requests), "candidates": parity["rows"], "largest difference": parity["max_abs_diff"]}


if __name__ == "__main__":
    main()
