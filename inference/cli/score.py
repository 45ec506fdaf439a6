"""Score a Parquet file of requests with an exported model."""

import time
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError

SUMMARY = "batch scoring of a Parquet file"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("requests", type=Path, help="a Parquet file, one row per request; columns as in signature.json")
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file of scores to write")
    parser.add_argument("--batch-size", type=int, default=256, help="requests scored at a time")


def run(args: Namespace) -> dict[str, Any]:
    """Scores; the report holds counts and seconds."""
    import pandas as pd
    import pyarrow as pa

    from pinfm.inference.artifact import load

    if not args.requests.is_file():
        raise UserError(f"{args.requests} does not exist; give a Parquet file of requests.")
    try:
        requests = pd.read_parquet(args.requests)
    except pa.ArrowInvalid as error:
        raise UserError(f"{args.requests} can't be read as Parquet; give a Parquet file of requests.") from error
    scorer = load(args.model)
    start = time.perf_counter()
    scores = scorer.score(requests, args.batch_size)
    seconds = time.perf_counter() - start
    args.out.parent.mkdir(parents=True, exist_ok=True)
    scores.to_parquet(args.out)
    print(f"{args.out}: {len(scores)} candidates of {len(requests)} requests in {seconds:.2f} s")
    return {"scores": str(args.out), "requests": len(requests), "candidates": len(scores), "seconds": seconds}
