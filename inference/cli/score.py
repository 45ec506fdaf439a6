"""Score Parquet requests, a file or a folder of files, with an exported model."""

import time
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.inference.folders import require_batch_size, require_model, require_own_file
from pinfm.inference.requests.parts import request_parts

SUMMARY = "batch scoring of Parquet files"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument(
        "requests",
        type=Path,
        help="a Parquet file, one row per request, or a folder of such; columns as in signature.json",
    )
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file of scores to write")
    parser.add_argument("--batch-size", type=int, default=256, help="requests scored at a time")


def run(args: Namespace) -> dict[str, Any]:
    """Scores; the report holds counts and seconds."""
    request_parts(args.requests)
    require_own_file(args.out, args.requests, args.model)
    require_batch_size(args.batch_size)
    require_model(args.model)

    from pinfm.inference.artifact import load
    from pinfm.inference.files import score_file
    from pinfm.inference.memory import keep_freed_memory

    keep_freed_memory()
    scorer = load(args.model)
    start = time.perf_counter()
    requests, candidates = score_file(scorer, args.requests, args.out, args.batch_size)
    seconds = time.perf_counter() - start
    print(f"{args.out}: {candidates} candidates of {requests} requests in {seconds:.2f} s")
    return {"scores": str(args.out), "requests": requests, "candidates": candidates, "seconds": seconds}
